import assert from 'node:assert/strict';
import { test } from 'node:test';

import { PATIENCE_MS, RequestError, Requests, whyNot } from '../lib/kernel/requests.js';

const trans = { __: (text, ...values) => values.reduce((sum, value, index) => sum.replace(`%${index + 1}`, value), text) };

/** Timers that ring when told to. */
class Clock {
  now = 0;
  rings = new Map();
  set(callback, ms) {
    const timer = this.rings.size + 1;
    this.rings.set(timer, [this.now + ms, callback]);
    return timer;
  }
  clear(timer) {
    this.rings.set(timer, null);
  }
  pass(ms) {
    this.now += ms;
    for (const [timer, ring] of this.rings) {
      if (ring && ring[0] <= this.now) {
        this.rings.set(timer, null);
        ring[1]();
      }
    }
  }
}

function begun() {
  const clock = new Clock();
  const requests = new Requests(clock);
  const [sent, told] = [[], []];
  const begin = () => requests.begin(name => sent.push(name), progress => told.push(progress));
  return { clock, requests, sent, told, begin };
}

const said = (request, outcome, text = '') => ({ of: 'drain', request, outcome, text, report: '' });
const failure = async promise => promise.then(() => 'done', error => (error instanceof RequestError ? error.failure : error));

test('an answer ends the command that has its name, and no other', async () => {
  const { requests, sent, begin } = begun();
  const [first, second] = [begin(), begin()];
  assert.notEqual(sent[0], sent[1]);
  assert.equal(requests.take(said(sent[1], 'done', 'second')), true);
  assert.equal((await second).text, 'second');
  requests.take(said(sent[0], 'error', 'It will not.'));
  await assert.rejects(first, error => error.failure === 'refused' && whyNot(error, trans) === 'It will not.');
});

test('an answer to nothing is not taken, nor a second one', async () => {
  const { requests, sent, begin } = begun();
  assert.equal(requests.take(said('', 'error')), false);
  const only = begin();
  requests.take(said(sent[0], 'done'));
  await only;
  assert.equal(requests.take(said(sent[0], 'error', 'late')), false);
});

test('a kernel that says nothing is given up after a while', async () => {
  const { clock, begin } = begun();
  const answer = failure(begin());
  clock.pass(PATIENCE_MS);
  assert.equal(await answer, 'silent');
});

test('a kernel that has begun is waited for without limit', async () => {
  const { clock, requests, sent, told, begin } = begun();
  const answer = begin();
  requests.take(said(sent[0], 'started', 'loading llama3.2'));
  requests.hold(true);
  requests.hold(false);
  clock.pass(100 * PATIENCE_MS);
  requests.take(said(sent[0], 'done', 'loaded'));
  assert.equal((await answer).text, 'loaded');
  assert.deepEqual(told, [{ kind: 'started', text: 'loading llama3.2' }]);
});

test('while a cell runs on a kernel that cannot answer meanwhile, patience stands still and the waiting is told', async () => {
  const { clock, requests, told, begin } = begun();
  requests.hold(true);
  const answer = failure(begin());
  assert.deepEqual(told, [{ kind: 'waiting' }]);
  clock.pass(100 * PATIENCE_MS);
  requests.hold(false);
  clock.pass(PATIENCE_MS - 1);
  requests.hold(true);
  assert.equal(told.length, 2);
  clock.pass(PATIENCE_MS);
  requests.hold(false);
  clock.pass(PATIENCE_MS);
  assert.equal(await answer, 'silent');
});

test('a kernel that is gone leaves no command waiting', async () => {
  const { clock, requests, begin } = begun();
  const answers = [failure(begin()), failure(begin())];
  requests.giveUp();
  assert.deepEqual(await Promise.all(answers), ['gone', 'gone']);
  clock.pass(PATIENCE_MS);
});

test('every failure has words for a person', () => {
  for (const kind of ['not-live', 'gone', 'silent']) {
    assert.match(whyNot(new RequestError(kind), trans), /^[A-Z].*\.$/);
  }
  assert.match(whyNot(new RequestError('silent'), trans), /10 s/);
});
