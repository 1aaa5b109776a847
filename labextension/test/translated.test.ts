import { expect, test } from '@jest/globals';
import ts from 'typescript';

import { type Source, sources } from './sources';

const SHOWN = new Set(['title', 'label', 'caption', 'aria-label', 'placeholder', 'alt', 'body', 'okLabel', 'text']);
const NAMES = new Set(['Gleitzeit']); // names are the same in every language
const WORDS = /\p{L}{2}/u;

function parsed({ name, text }: Source): ts.SourceFile {
  return ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true, name.endsWith('x') ? ts.ScriptKind.TSX : ts.ScriptKind.TS);
}

/** Texts that a person would read and that no translation was asked for. */
function untranslated(source: Source): string[] {
  const found: string[] = [];
  const keep = (text: string): void => {
    if (WORDS.test(text) && !NAMES.has(text.trim())) {
      found.push(`${source.name}: ${text.trim()}`);
    }
  };
  const visit = (node: ts.Node): void => {
    if (ts.isJsxElement(node) && node.openingElement.tagName.getText() === 'code') {
      return; // what stands in code is the same in every language
    }
    if (ts.isJsxText(node)) {
      keep(node.text);
    } else if ((ts.isJsxAttribute(node) || ts.isPropertyAssignment(node)) && SHOWN.has(node.name.getText().replace(/['"]/g, ''))) {
      const value = node.initializer;
      if (value && ts.isStringLiteralLike(value)) {
        keep(value.text);
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(parsed(source));
  return found;
}

/** Texts whose `%%` the translation would halve: a magic goes to it as a value (`'%1 cell', '%%llm'`). */
function halved(source: Source): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node)) {
      const [, kind] = /\btrans\.(__|_n)$/.exec(node.expression.getText()) ?? [];
      const formats = node.arguments.slice(0, kind === '__' ? 1 : kind === '_n' ? 2 : 0);
      found.push(...formats.map(each => each.getText()).filter(each => each.includes('%%')));
    }
    ts.forEachChild(node, visit);
  };
  visit(parsed(source));
  return found.map(each => `${source.name}: ${each}`);
}

test('every text that is shown goes through the translation', () => {
  const all = sources();
  expect(all.length).toBeGreaterThan(10);
  expect(all.flatMap(untranslated)).toEqual([]);
});

test('a text that does not is found', () => {
  const text = "const a = <b title='Stop it'>Now<code>%llm</code></b>; const c = { label: 'Go' };";
  expect(untranslated({ name: 'a.tsx', text })).toEqual([
    'a.tsx: Stop it',
    'a.tsx: Now',
    'a.tsx: Go'
  ]);
});

test('no text is handed to the translation with a magic in it', () => {
  expect(sources().flatMap(halved)).toEqual([]);
});

test('a text that is halved is found', () => {
  const text = "trans.__('A %%llm cell'); trans.__('A %1 cell', '%%llm'); this.trans._n('one %1', '%%many', 2);";
  expect(halved({ name: 'a.ts', text })).toEqual(["a.ts: 'A %%llm cell'", "a.ts: '%%many'"]);
});
