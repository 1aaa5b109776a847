import { expect, test } from '@jest/globals';

import { sources } from './sources';

/** Each imports from those before it only. The files beside the folders serve all of them. */
const ORDER = ['settings', 'kernel', 'commands', 'panel', 'cells', 'status'];
const LAST = ORDER.slice(3); // one plugin each, which know nothing of one another

function imports(): [from: string, to: string][] {
  return sources().flatMap(({ name, text }) => {
    const [, from, file] = /^src\/(?:(\w+)\/)?(\w+)\.tsx?$/.exec(name) ?? [];
    expect(file).toBeDefined();
    return from ? [...text.matchAll(/from '\.\.\/(\w+)\//g)].map(([, to]): [string, string] => [from, to]) : [];
  });
}

test('folders import one way', () => {
  const wrong = imports().filter(([from, to]) => ORDER.indexOf(from) <= ORDER.indexOf(to) || (LAST.includes(from) && LAST.includes(to)));
  expect(wrong).toEqual([]);
});

test('every folder has its place in the order, and all are looked at', () => {
  expect(new Set(imports().flat())).toEqual(new Set(ORDER));
});
