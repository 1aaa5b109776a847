import { expect, test } from '@jest/globals';

import { lines, pathOf, range } from '../../src/panel/sparkline';

test('the highest value touches the upper edge, and zero the lower one', () => {
  expect(lines([0, 5, 10], 100, 16)).toEqual([
    [
      { x: 0, y: 16 },
      { x: 50, y: 8 },
      { x: 100, y: 0 }
    ]
  ]);
});

test('with a given top, a share is drawn as a share, and more than all as all', () => {
  expect(lines([0.5, 2], 10, 16, 1)[0].map(({ y }) => y)).toEqual([8, 0]);
});

test('an unknown value leaves a gap, and is no zero', () => {
  const parts = lines([1, null, 2, 3, null], 100, 10);
  expect(parts.map(part => part.length)).toEqual([1, 2]);
  expect(range([1, null, 3, null])).toEqual({ least: 1, most: 3, last: 3 });
});

test('nothing known draws nothing', () => {
  expect([lines([], 100, 10), lines([null, null], 100, 10), range([null])]).toEqual([[], [], null]);
});

test('a lone value is a dot, and only zeros a line at the foot', () => {
  expect(pathOf(lines([4], 100, 10))).toBe('M0 0L0 0');
  expect(pathOf(lines([0, 0], 100, 10))).toBe('M0 10L100 10');
});
