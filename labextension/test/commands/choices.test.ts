import { expect, test } from '@jest/globals';

import { cancellable, loadable, resettable, stoppable, unloadable } from '../../src/commands/choices';
import { trans } from '../fakes/translation';
import { container, instance, mode, run, session, snapshot, warmModel } from '../fakes/views';

const labels = (choices: ReturnType<typeof cancellable>): string[] => choices.map(({ label }) => label);

test('everything that it could be done to is offered by a name that a person knows', () => {
  const full = snapshot({
    runs: [run(), run({ id: 'r2', kind: 'sandbox', label: '', model: '', where: '' }), run({ id: 'r3', cancellable: false })],
    container_list: [container(), container({ id: 'abc', session: 'work' }), container({ id: '' })],
    sessions: [session()],
    modes: [mode({ label: 'Sandbox' })],
    instances: [instance({ models: ['a', 'b'], warm: [warmModel('b')] })]
  });
  expect(labels(cancellable(full, trans))).toEqual(['[12] %%llm · llama3.2 · gpu-1', 'sandbox']);
  expect(labels(stoppable(full, trans))).toEqual(['3f2a9c1d5b7e · Sandbox · idle', 'abc · Sandbox · session work']);
  expect(labels(resettable(full, trans))).toEqual(['work']);
  expect(labels(loadable(full, trans))).toEqual(['a on gpu-1']);
  expect(labels(unloadable(full, trans))).toEqual(['b on gpu-1']);
});

test('no two choices have the same name', () => {
  const twins = snapshot({ runs: [run(), run({ id: 'r2' }), run({ id: 'r3' })] });
  const choices = cancellable(twins, trans);
  expect(new Set(labels(choices)).size).toBe(3);
  expect(choices.map(({ action }) => action.command)).toEqual(['r1', 'r2', 'r3'].map(id => ({ type: 'cancel', run: id })));
});
