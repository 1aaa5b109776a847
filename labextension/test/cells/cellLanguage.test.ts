import { type Language, LanguageSupport, StreamLanguage, syntaxTree } from '@codemirror/language';
import { EditorState } from '@codemirror/state';
import { expect, test } from '@jest/globals';
import type { IEditorLanguageRegistry } from '@jupyterlab/codemirror';

import { CellLanguages } from '../../src/cells/cellLanguage';

/** A language whose every line is one token. */
const LINES: Language = StreamLanguage.define({
  name: 'lines',
  token: stream => {
    stream.skipToEnd();
    return 'string';
  }
});

function languages(known: boolean) {
  const asked: string[] = [];
  const getLanguage = (name: string) => {
    asked.push(name);
    return Promise.resolve(known ? { support: new LanguageSupport(LINES) } : null);
  };
  return { asked, cells: new CellLanguages({ getLanguage } as unknown as IEditorLanguageRegistry, { llm: [], sandbox: [] }) };
}

/** The parts of a cell with their texts, and the outermost ones of its body. */
function parts(doc: string, cells: CellLanguages): [name: string, text: string][] {
  const state = EditorState.create({ doc, extensions: cells.extension('llm') });
  const found: [string, string][] = [];
  syntaxTree(state).iterate({ enter: ({ name, from, to }) => void found.push([name, doc.slice(from, to)]) });
  return found;
}

test('the magic line is parted into its words, and what is below it stays plain until its language is there', () => {
  const { cells } = languages(true);
  expect(parts("%%llm -m llama3.2 # why\nDon't", cells)).toEqual([
    ['Cell', "%%llm -m llama3.2 # why\nDon't"],
    ['MagicName', '%%llm'],
    ['MagicOption', '-m'],
    ['MagicValue', 'llama3.2'],
    ['MagicComment', '# why'],
    ['CellBody', "Don't"]
  ]);
});

test('the body is in the inner language once it has come, and that is asked for once', async () => {
  const { asked, cells } = languages(true);
  const before = cells.extension('llm');
  await Promise.all([cells.load('llm'), cells.load('llm')]);
  expect(asked).toEqual(['text/x-ipythongfm']);
  expect(cells.extension('llm')).not.toBe(before);
  expect(cells.extension('llm')).toBe(cells.extension('llm'));
  expect(parts('%%llm\nDo it', cells)).toContainEqual(['string', 'Do it']);
});

test('where the page lacks the language, the cell stays as it is', async () => {
  const { cells } = languages(false);
  const before = cells.extension('llm');
  await cells.load('llm');
  expect(cells.extension('llm')).toBe(before);
});

test('a cell that is a magic line and no more has no body', () => {
  const { cells } = languages(true);
  expect(parts('%%llm', cells)).toEqual([
    ['Cell', '%%llm'],
    ['MagicName', '%%llm']
  ]);
});
