import assert from 'node:assert/strict';
import { test } from 'node:test';

import { isStale, PATIENCE_S } from '../lib/panel/freshness.js';
import { Orders, SHOWN_MS } from '../lib/panel/orders.js';

const action = (type, instance = 'gpu-1') => ({ command: { type, instance }, label: '', caption: '', saying: '', question: null });

/** A kernel that answers when it is told to. */
function kernel() {
  const asked = [];
  const seen = [];
  let now = 0;
  const orders = new Orders(
    (command, tell) => new Promise((resolve, reject) => asked.push({ command, tell, resolve, reject })),
    error => `no: ${error.message}`,
    () => now,
    order => seen.push(order && order.outcome)
  );
  return { orders, asked, seen, wait: ms => (now += ms) };
}

const settled = () => new Promise(resolve => setImmediate(resolve));

test('an order goes from sent to what came of it, with the words of the kernel', async () => {
  const { orders, asked, seen } = kernel();
  orders.give(action('warm'));
  assert.equal(orders.pending.size, 1);
  asked[0].tell({ kind: 'waiting' });
  asked[0].tell({ kind: 'started', text: 'It loads.' });
  assert.equal(orders.shown[0].text, 'It loads.');
  asked[0].resolve({ text: 'It is loaded.' });
  await settled();
  assert.deepEqual(seen, ['sent', 'waiting', 'started', 'done']);
  assert.equal(orders.shown[0].text, 'It is loaded.');
  assert.equal(orders.pending.size, 0);
});

test('the same is not asked twice while it has no answer', async () => {
  const { orders, asked } = kernel();
  orders.give(action('drain'));
  orders.give(action('drain'));
  orders.give(action('drain', 'gpu-2'));
  assert.equal(asked.length, 2);
  asked[0].resolve({ text: '' });
  await settled();
  orders.give(action('drain'));
  assert.equal(asked.length, 3);
});

test('what was done goes by itself, what failed stays until it is dismissed', async () => {
  const { orders, asked, wait } = kernel();
  orders.give(action('drain'));
  orders.give(action('drain', 'gpu-2'));
  asked[0].resolve({ text: 'done' });
  asked[1].reject(new Error('it will not'));
  await settled();
  wait(SHOWN_MS + 1);
  orders.prune();
  assert.deepEqual(orders.shown.map(({ text }) => text), ['no: it will not']);
  orders.dismiss(orders.shown[0].id);
  assert.deepEqual(orders.shown, []);
});

test('many ended ones leave only the last, and none that waits is lost', async () => {
  const { orders, asked } = kernel();
  for (let number = 0; number < 8; number += 1) {
    orders.give(action('drain', String(number)));
    if (number !== 2) {
      asked[number].resolve({ text: String(number) });
    }
    await settled();
  }
  assert.deepEqual(orders.shown.map(({ text, outcome }) => text || outcome), ['sent', '5', '6', '7']);
});

test('the set of what waits is the same one while it holds the same', () => {
  const { orders, asked } = kernel();
  orders.give(action('warm'));
  const { pending } = orders;
  asked[0].tell({ kind: 'started', text: '' });
  assert.equal(orders.pending, pending);
});

test('silence is a sign only while something runs, or without a line', () => {
  const idle = { runs: [], in_flight: 0 };
  const busy = { runs: [{}], in_flight: 0 };
  assert.equal(isStale(idle, 3600, true), false);
  assert.equal(isStale(idle, 0, false), true);
  assert.equal(isStale(busy, PATIENCE_S - 1, true), false);
  assert.equal(isStale(busy, PATIENCE_S + 1, true), true);
  assert.equal(isStale({ runs: [], in_flight: 1 }, PATIENCE_S + 1, true, 10), false);
});
