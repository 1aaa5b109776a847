import { expect, test } from '@jest/globals';

import type { Answer } from '../../src/kernel/model';
import { type Failure, PATIENCE_MS, type Progress, reportOf, RequestError, Requests, whyNot } from '../../src/kernel/requests';
import { Clock } from '../fakes/clock';
import { trans } from '../fakes/translation';

function begun() {
  const clock = new Clock();
  const requests = new Requests(clock);
  const sent: string[] = [];
  const told: Progress[] = [];
  const begin = (): Promise<Answer> => requests.begin(name => sent.push(name), progress => told.push(progress));
  return { clock, requests, sent, told, begin };
}

const said = (request: string, outcome: Answer['outcome'], text = ''): Answer => ({ of: 'drain', request, outcome, text, report: '' });
const failure = (promise: Promise<Answer>): Promise<unknown> =>
  promise.then(
    () => 'done',
    error => (error instanceof RequestError ? error.failure : error)
  );

test('an answer ends the command that has its name, and no other', async () => {
  const { requests, sent, begin } = begun();
  const [first, second] = [begin(), begin()];
  expect(sent[0]).not.toBe(sent[1]);
  expect(requests.take(said(sent[1], 'done', 'second'))).toBe(true);
  expect((await second).text).toBe('second');
  requests.take(said(sent[0], 'error', 'It will not.'));
  const error: unknown = await first.catch(reason => reason);
  expect(error).toMatchObject({ failure: 'refused' });
  expect(whyNot(error, trans)).toBe('It will not.');
});

test('an answer to nothing is not taken, nor a second one', async () => {
  const { requests, sent, begin } = begun();
  expect(requests.take(said('', 'error'))).toBe(false);
  const only = begin();
  requests.take(said(sent[0], 'done'));
  await only;
  expect(requests.take(said(sent[0], 'error', 'late'))).toBe(false);
});

test('a kernel that says nothing is given up after a while', async () => {
  const { clock, begin } = begun();
  const answer = failure(begin());
  clock.pass(PATIENCE_MS);
  expect(await answer).toBe('silent');
});

test('a kernel that has begun is waited for without limit', async () => {
  const { clock, requests, sent, told, begin } = begun();
  const answer = begin();
  requests.take(said(sent[0], 'started', 'loading llama3.2'));
  requests.hold(true);
  requests.hold(false);
  clock.pass(100 * PATIENCE_MS);
  requests.take(said(sent[0], 'done', 'loaded'));
  expect((await answer).text).toBe('loaded');
  expect(told).toEqual([{ kind: 'started', text: 'loading llama3.2' }]);
});

test('while a cell runs on a kernel that cannot answer meanwhile, patience stands still and the waiting is told', async () => {
  const { clock, requests, told, begin } = begun();
  requests.hold(true);
  const answer = failure(begin());
  expect(told).toEqual([{ kind: 'waiting' }]);
  clock.pass(100 * PATIENCE_MS);
  requests.hold(false);
  clock.pass(PATIENCE_MS - 1);
  requests.hold(true);
  expect(told.length).toBe(2);
  clock.pass(PATIENCE_MS);
  requests.hold(false);
  clock.pass(PATIENCE_MS);
  expect(await answer).toBe('silent');
});

test('a kernel that is gone leaves no command waiting', async () => {
  const { clock, requests, begin } = begun();
  const answers = [failure(begin()), failure(begin())];
  requests.giveUp();
  expect(await Promise.all(answers)).toEqual(['gone', 'gone']);
  expect(clock.waiting).toBe(0);
});

test('every failure has words for a person', () => {
  for (const kind of ['not-live', 'gone', 'silent'] satisfies Failure[]) {
    expect(whyNot(new RequestError(kind), trans)).toMatch(/^[A-Z].*\.$/);
  }
  expect(whyNot(new RequestError('silent'), trans)).toMatch(/10 s/);
});

test('of several commands without an answer each is named, and the words of the kernel stand alone', () => {
  expect(whyNot(new RequestError('silent'), trans, 'Drain gpu-1')).toMatch(/^Drain gpu-1: The kernel has not answered/);
  expect(whyNot(new RequestError('refused', 'It will not.', 'It will not.\nSince it is late.'), trans, 'Drain gpu-1')).toBe('It will not.');
  expect(reportOf(new RequestError('refused', 'It will not.', 'It will not.\nSince it is late.'))).toBe('It will not.\nSince it is late.');
  expect(reportOf(new Error('other'))).toBe('');
});
