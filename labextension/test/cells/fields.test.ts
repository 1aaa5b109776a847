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

test('a text of open braces costs little', () => {
  const began = performance.now();
  readFields('{ '.repeat(20_000));
  expect(performance.now() - began).toBeLessThan(5_000);
});
