import { expect, test } from '@jest/globals';

import { readFields } from '../../src/cells/fields';
import cases from './template-cases.json';

const found = (text: string): [kind: string, source: string][] => readFields(text).map(({ kind, from, to }) => [kind, text.slice(from, to)]);

test('fields are found where the kernel finds them', () => {
  expect(cases.map(({ text }) => ({ text, found: found(text) }))).toEqual(cases.map(({ text, found: expected }) => ({ text, found: expected })));
});

test('a brace that is open does not reach over a blank line', () => {
  expect(found('{open\n\nlater: {x}')).toEqual([
    ['refused', '{'],
    ['field', '{x}']
  ]);
});

test('offsets are those of the whole text', () => {
  expect(readFields('{x}', 10)).toEqual([{ kind: 'field', from: 10, to: 13 }]);
});

test('a text of open braces costs no more per brace when it is long', () => {
  const cost = (braces: number): number => {
    const times = [1, 2, 3].map(() => {
      const began = performance.now();
      readFields('{ '.repeat(braces));
      return performance.now() - began;
    });
    return Math.min(...times);
  };
  expect(cost(8_000) / cost(2_000)).toBeLessThan(9); // were it quadratic: 16
});
