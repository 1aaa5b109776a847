import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

import ts from 'typescript';

const SOURCES = new URL('../src/', import.meta.url);
const SHOWN = new Set(['title', 'label', 'caption', 'aria-label', 'placeholder', 'alt', 'body', 'okLabel', 'text']);
const NAMES = new Set(['Gleitzeit']); // names are the same in every language
const WORDS = /\p{L}{2}/u;

function parsed(source, name) {
  return ts.createSourceFile(name, source, ts.ScriptTarget.Latest, true, name.endsWith('x') ? ts.ScriptKind.TSX : ts.ScriptKind.TS);
}

/** Texts that a person would read and that no translation was asked for. */
function untranslated(source, name) {
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
  visit(parsed(source, name));
  return found;
}

/** Texts whose `%%` the translation would halve: a magic goes to it as a value (`'%1 cell', '%%llm'`). */
function halved(source, name) {
  const found = [];
  const visit = node => {
    if (ts.isCallExpression(node)) {
      const [, kind] = /\btrans\.(__|_n)$/.exec(node.expression.getText()) ?? [];
      const formats = node.arguments.slice(0, { __: 1, _n: 2 }[kind] ?? 0);
      found.push(...formats.map(each => each.getText()).filter(each => each.includes('%%')));
    }
    ts.forEachChild(node, visit);
  };
  visit(parsed(source, name));
  return found.map(each => `${name}: ${each}`);
}

function inAllSources(search) {
  const names = readdirSync(SOURCES, { recursive: true }).filter(name => /\.tsx?$/.test(name));
  assert.ok(names.length > 10);
  return names.flatMap(name => search(readFileSync(new URL(name, SOURCES), 'utf8'), name));
}

test('every text that is shown goes through the translation', () => {
  assert.deepEqual(inAllSources(untranslated), []);
});

test('a text that does not is found', () => {
  assert.deepEqual(untranslated("const a = <b title='Stop it'>Now<code>%llm</code></b>; const c = { label: 'Go' };", 'a.tsx'), [
    'a.tsx: Stop it',
    'a.tsx: Now',
    'a.tsx: Go'
  ]);
});

test('no text is handed to the translation with a magic in it', () => {
  assert.deepEqual(inAllSources(halved), []);
});

test('a text that is halved is found', () => {
  const source = "trans.__('A %%llm cell'); trans.__('A %1 cell', '%%llm'); this.trans._n('one %1', '%%many', 2);";
  assert.deepEqual(halved(source, 'a.ts'), ["a.ts: 'A %%llm cell'", "a.ts: '%%many'"]);
});
