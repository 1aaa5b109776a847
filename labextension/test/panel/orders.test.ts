import { expect, test } from '@jest/globals';

import { type Action, drain } from '../../src/commands/actions';
import type { Answer } from '../../src/kernel/model';
import type { Progress } from '../../src/kernel/requests';
import { Orders, type Outcome, SHOWN_MS } from '../../src/panel/orders';
import { trans } from '../fakes/translation';
import { instance } from '../fakes/views';

const draining = (name = 'gpu-1'): Action => drain(instance({ id: name }), trans);
const answered = (text: string): Answer => ({ of: 'drain', request: 'r1', outcome: 'done', text, report: '' });

interface Asked {
  readonly tell: (progress: Progress) => void;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

/** A kernel that answers when it is told to. */
function kernel() {
  const asked: Asked[] = [];
  const seen: (Outcome | null)[] = [];
  let now = 0;
  const orders = new Orders(
    (_, tell) => new Promise((resolve, reject) => asked.push({ tell, resolve, reject })),
    error => `no: ${error instanceof Error ? error.message : ''}`,
    () => now,
    order => seen.push(order && order.outcome)
  );
  return { orders, asked, seen, wait: (ms: number) => (now += ms) };
}

const settled = (): Promise<void> => new Promise(resolve => setTimeout(resolve, 0));

test('an order goes from sent to what came of it, with the words of the kernel', async () => {
  const { orders, asked, seen } = kernel();
  orders.give(draining());
  expect(orders.pending.size).toBe(1);
  asked[0].tell({ kind: 'waiting' });
  asked[0].tell({ kind: 'started', text: 'It loads.' });
  expect(orders.shown[0].text).toBe('It loads.');
  asked[0].resolve(answered('It is loaded.'));
  await settled();
  expect(seen).toEqual(['sent', 'waiting', 'started', 'done']);
  expect(orders.shown[0].text).toBe('It is loaded.');
  expect(orders.pending.size).toBe(0);
});

test('the same is not asked twice while it has no answer', async () => {
  const { orders, asked } = kernel();
  orders.give(draining());
  orders.give(draining());
  orders.give(draining('gpu-2'));
  expect(asked.length).toBe(2);
  asked[0].resolve(answered(''));
  await settled();
  orders.give(draining());
  expect(asked.length).toBe(3);
});

test('what was done goes by itself, what failed stays until it is dismissed', async () => {
  const { orders, asked, wait } = kernel();
  orders.give(draining());
  orders.give(draining('gpu-2'));
  asked[0].resolve(answered('done'));
  asked[1].reject(new Error('it will not'));
  await settled();
  wait(SHOWN_MS + 1);
  orders.prune();
  expect(orders.shown.map(({ text }) => text)).toEqual(['no: it will not']);
  orders.dismiss(orders.shown[0].id);
  expect(orders.shown).toEqual([]);
});

test('many ended ones leave only the last, and none that waits is lost', async () => {
  const { orders, asked } = kernel();
  for (let number = 0; number < 8; number += 1) {
    orders.give(draining(String(number)));
    if (number !== 2) {
      asked[number].resolve(answered(String(number)));
    }
    await settled();
  }
  expect(orders.shown.map(({ text, outcome }) => text || outcome)).toEqual(['sent', '5', '6', '7']);
});

test('the set of what waits is the same one while it holds the same', () => {
  const { orders, asked } = kernel();
  orders.give(draining());
  const { pending } = orders;
  asked[0].tell({ kind: 'started', text: '' });
  expect(orders.pending).toBe(pending);
});

test('what was not begun is told as done, and asks nobody', () => {
  const { orders, asked } = kernel();
  orders.note(draining(), 'It has ended by itself.');
  expect(asked).toHaveLength(0);
  expect(orders.shown).toMatchObject([{ outcome: 'done', text: 'It has ended by itself.' }]);
  expect(orders.pending.size).toBe(0);
});
