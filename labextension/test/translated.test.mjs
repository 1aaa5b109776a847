import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

import ts from 'typescript';

const SOURCES = new URL('../src/', import.meta.url);
const SHOWN = new Set(['title', 'label', 'caption', 'aria-label', 'placeholder', 'alt', 'body', 'okLabel', 'text']);
const NAMES = new Set(['Gleitzeit']); // names are the same in every language
const WORDS = /\p{L}{2}/u;

/** Texts that a person would read and that no translation was asked for. */
function untranslated(source, name) {
  const file = ts.createSourceFile(name, source, ts.ScriptTarget.Latest, true, name.endsWith('x') ? ts.ScriptKind.TSX : ts.ScriptKind.TS);
  const found = [];
  const keep = text => WORDS.test(text) && !NAMES.has(text.trim()) && found.push(`${name}: ${text.trim()}`);
  const visit = node => {
    if (ts.isJsxElement(node) && node.openingElement.tagName.getText() === 'code') {
      return; // what stands in code is the same in every language
    }
    if (ts.isJsxText(node)) {
      keep(node.text);
    } else if ((ts.isJsxAttribute(node) || ts.isPropertyAssignment(node)) && SHOWN.has(node.name.getText().replaceAll(/['"]/g, ''))) {
      const value = node.initializer;
      if (value && ts.isStringLiteralLike(value)) {
        keep(value.text);
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

test('every text that is shown goes through the translation', () => {
  const names = readdirSync(SOURCES).filter(name => /\.tsx?$/.test(name));
  assert.ok(names.length > 10);
  assert.deepEqual(names.flatMap(name => untranslated(readFileSync(new URL(name, SOURCES), 'utf8'), name)), []);
});

test('a text that does not is found', () => {
  assert.deepEqual(untranslated("const a = <b title='Stop it'>Now<code>%llm</code></b>; const c = { label: 'Go' };", 'a.tsx'), [
    'a.tsx: Stop it',
    'a.tsx: Now',
    'a.tsx: Go'
  ]);
});
