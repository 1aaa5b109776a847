import { expect, test } from '@jest/globals';

import { displayId, isShown, readMark, readOutputs, readShown, savedDashboard, standing } from '../../src/cells/marks';

const ID = 'a'.repeat(32);

test('an output that goes on names its display', () => {
  expect(readMark({ gleitzeit_nb: { state: 'arriving', live: ID } })).toEqual({ live: ID, job: null });
  expect(readMark({ gleitzeit_nb: { job: 3, state: 'running', live: ID } })).toEqual({ live: ID, job: 3 });
});

test('an output that is final, or that somebody else made up, is none', () => {
  const none = [null, undefined, 'x', [], {}, { gleitzeit_nb: null }, { gleitzeit_nb: [ID] }, { gleitzeit_nb: { model: 'm', instance: 'i' } }];
  const odd = ['', 'A'.repeat(32), `${ID}b`, `${ID}\n`, 7, null, [ID], { [ID]: 1 }].map(live => ({ gleitzeit_nb: { live } }));
  expect([...none, ...odd].map(readMark).filter(Boolean)).toEqual([]);
});

test('only a plain number is that of a job', () => {
  const numbers = ['3', 0, -1, 1.5, NaN, Infinity, 1e300, {}, '<b>1</b>'].map(job => readMark({ gleitzeit_nb: { live: ID, job } })?.job);
  expect(new Set(numbers)).toEqual(new Set([null]));
});

test('what the kernel tells of outputs is read, and what is none of them is left out', () => {
  const good = { id: ID, data: { 'text/plain': 'x' }, metadata: {} };
  expect(readOutputs({ type: 'outputs', outputs: [good, null, 7, { ...good, id: 'x' }, { ...good, data: 'x' }, { id: ID }] })).toEqual([good]);
  expect([null, 'x', {}, { type: 'snapshot' }, { type: 'outputs' }, { type: 'outputs', outputs: 'x' }].map(readOutputs)).toEqual(Array(6).fill(null));
});

test('a message names the display that it shows or changes', () => {
  const content = { data: {}, metadata: {}, transient: { display_id: ID } };
  expect(displayId('display_data', content)).toBe(ID);
  expect(displayId('update_display_data', content)).toBe(ID);
  expect(displayId('stream', content)).toBeNull();
  expect(displayId('display_data', { data: {}, metadata: {} })).toBeNull();
  expect(displayId('display_data', { transient: { display_id: 7 } })).toBeNull();
});

test('what stands there already is not written again', () => {
  const shown = readShown(ID, { data: { 'text/plain': 'x' }, metadata: { gleitzeit_nb: { live: ID } } })!;
  expect(isShown({ data: { 'text/plain': 'x' }, metadata: { gleitzeit_nb: { live: ID } } }, shown)).toBe(true);
  expect(isShown({ data: { 'text/plain': 'y' }, metadata: { gleitzeit_nb: { live: ID } } }, shown)).toBe(false);
  expect(isShown({ data: { 'text/plain': 'x' }, metadata: {} }, shown)).toBe(false);
});

test('nothing goes on without a kernel that can be heard', () => {
  const seen = { status: 'idle', connection: 'connected', isSettled: true };
  expect(standing(seen)).toBe('following');
  expect(standing({ ...seen, status: 'unknown' })).toBe('following');
  expect(['dead', 'terminating', 'restarting', 'autorestarting'].map(status => standing({ ...seen, status }))).toEqual(Array(4).fill('ended'));
  expect(standing({ ...seen, status: null })).toBe('ended');
  expect(standing({ ...seen, status: null, isSettled: false })).toBe('asking');
  expect(standing({ ...seen, connection: 'connecting' })).toBe('asking');
  expect(standing({ ...seen, connection: 'disconnected' })).toBe('offline');
});

test('a saved dashboard is known by its widget and its picture', () => {
  const view = { 'application/vnd.jupyter.widget-view+json': { model_id: 'm' } };
  const html = '<style></style><div class="gz-dash">1</div>';
  expect(savedDashboard({ ...view, 'text/html': html })).toEqual({ widget: 'm', html });
  expect(savedDashboard({ ...view, 'text/html': [html, ' '] })).toEqual({ widget: 'm', html: `${html} ` });
  const others = [null, 'x', {}, view, { 'text/html': html }, { ...view, 'text/html': '<b>x</b>' }, { ...view, 'text/html': 7 }];
  expect(others.map(savedDashboard).filter(Boolean)).toEqual([]);
});
