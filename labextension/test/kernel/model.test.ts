import { describe, expect, test } from '@jest/globals';

import { ModelError, readMessage, SCHEMA_VERSION } from '../../src/kernel/model';
import { container, instance, mode, run, session, snapshot, warmModel } from '../fakes/views';

const welcome = { type: 'welcome', version: '1.0', answers_while_busy: true, cell_s: null, commands: ['drain'] };
const answer = { type: 'done', of: 'drain', request: 'r1', text: 'It drains.', report: '' };
const carrying = (changes: object): object => ({ type: 'snapshot', snapshot: { ...snapshot(), ...changes } });

/** What is said against it; "" when nothing is. */
function complaint(message: unknown): string {
  try {
    readMessage(message);
    return '';
  } catch (error) {
    return error instanceof ModelError ? error.message : `not a ModelError: ${String(error)}`;
  }
}

test('what is no record with a type is no message', () => {
  expect([undefined, null, 3, 'welcome', true, []].map(complaint)).toEqual(Array(6).fill('message is not a record'));
  expect([{}, { type: null }, { type: 3 }, { type: ['snapshot'] }].map(complaint)).toEqual(Array(4).fill('type is not text'));
});

test('a type that is inherited is none', () => {
  expect(complaint(Object.create({ type: 'welcome' }))).toBe('type is not text');
});

test('a message of a newer kernel is passed over', () => {
  expect(readMessage({ type: 'weather', snapshot: null })).toBeNull();
});

describe('welcome', () => {
  test('is read without what it has more', () => {
    const { type, ...said } = welcome;
    expect(readMessage({ ...welcome, newer: 1 })).toEqual({ type, welcome: said });
  });

  test('of an older kernel says of no running cell', () => {
    const { cell_s, ...older } = welcome;
    expect(readMessage(older)).toEqual({ type: 'welcome', welcome: { version: '1.0', answers_while_busy: true, cell_s, commands: ['drain'] } });
  });

  test.each([
    [{ version: 1 }, 'version is not text'],
    [{ answers_while_busy: 'yes' }, 'answers_while_busy is not true or false'],
    [{ cell_s: '3' }, 'cell_s is not a number'],
    [{ commands: 'drain' }, 'commands is not a list'],
    [{ commands: ['drain', null] }, 'commands[1] is not text'],
    [{ commands: undefined }, 'commands is not a list']
  ])('with %j is refused', (wrong, why) => {
    expect(complaint({ ...welcome, ...wrong })).toBe(why);
  });
});

describe('answer', () => {
  test.each(['started', 'done', 'error'])('%s is read with its outcome', type => {
    expect(readMessage({ ...answer, type })).toEqual({
      type: 'answer',
      answer: { outcome: type, of: 'drain', request: 'r1', text: 'It drains.', report: '' }
    });
  });

  test('cannot say another outcome than its type', () => {
    expect(readMessage({ ...answer, outcome: 'error' })).toMatchObject({ answer: { outcome: 'done' } });
  });

  test.each(['of', 'request', 'text', 'report'])('without %s is refused', field => {
    expect(complaint({ ...answer, [field]: undefined })).toBe(`${field} is not text`);
    expect(complaint({ ...answer, [field]: { toString: 'x' } })).toBe(`${field} is not text`);
  });
});

describe('snapshot', () => {
  test('is read whole', () => {
    const whole = snapshot({
      instances: [instance({ warm: [warmModel('llama3.2')], latencies_s: [0.1, null] })],
      modes: [mode({ outcomes: [{ name: 'ok', count: 2 }] })],
      runs: [run({ progress: { done: 1, total: null, failed: 0, eta_s: 3, shares: [{ name: 'gpu-1', share: 1 }] } })],
      sessions: [session()],
      container_list: [container()],
      failovers: [{ at: 1, source: 'a', target: 'b', reason: 'timeout', model: 'm' }],
      security: { counts: [{ kind: 'oom', mode: 'docker', count: 1 }], recent: [{ at: 1, kind: 'oom', mode: 'docker', reason: 'too much' }] }
    });
    expect(readMessage({ type: 'snapshot', snapshot: whole })).toEqual({ type: 'snapshot', snapshot: whole });
  });

  test('of another version says which, whatever else it holds', () => {
    const newer = carrying({ schema_version: SCHEMA_VERSION + 1, instances: 'unreadable' });
    expect(complaint(newer)).toBe(`snapshot is not of version ${SCHEMA_VERSION} but ${SCHEMA_VERSION + 1}`);
  });

  test.each([null, undefined, 'x', []])('that is %j is refused', wrong => {
    expect(complaint({ type: 'snapshot', snapshot: wrong })).toBe('snapshot is not a record');
  });

  test.each([
    [{ schema_version: '2' }, 'snapshot.schema_version is not a number'],
    [{ seq: NaN }, 'snapshot.seq is not a number'],
    [{ at: Infinity }, 'snapshot.at is not a number'],
    [{ instances: {} }, 'snapshot.instances is not a list'],
    [{ instances: [instance(), null] }, 'snapshot.instances[1] is not a record'],
    [{ instances: [{ ...instance(), draining: 0 }] }, 'snapshot.instances[0].draining is not true or false'],
    [{ instances: [{ ...instance(), warm: [{ ...warmModel('a'), name: null }] }] }, 'snapshot.instances[0].warm[0].name is not text'],
    [{ instances: [{ ...instance(), tokens_per_s: [1, null] }] }, 'snapshot.instances[0].tokens_per_s[1] is not a number'],
    [{ modes: [{ ...mode(), available: 1 }] }, 'snapshot.modes[0].available is not true or false'],
    [{ runs: [{ ...run(), progress: [] }] }, 'snapshot.runs[0].progress is not a record'],
    [{ sessions: [{ ...session(), used_at: null }] }, 'snapshot.sessions[0].used_at is not a number'],
    [{ container_list: [{ ...container(), id: 7 }] }, 'snapshot.container_list[0].id is not text'],
    [{ failovers: [{}] }, 'snapshot.failovers[0].at is not a number'],
    [{ security: { counts: [] } }, 'snapshot.security.recent is not a list']
  ])('with %j is refused by the place of the fault', (wrong, why) => {
    expect(complaint(carrying(wrong))).toBe(why);
  });

  test('sets nothing on what all objects share', () => {
    const hostile: unknown = JSON.parse(JSON.stringify(carrying({})).replace('"seq":1', '"seq":1,"__proto__":{"polluted":true}'));
    readMessage(hostile);
    expect(Reflect.get({}, 'polluted')).toBeUndefined();
  });
});
