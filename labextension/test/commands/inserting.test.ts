import { expect, test } from '@jest/globals';
import type { Notebook } from '@jupyterlab/notebook';

import { canInsert, insertMagic } from '../../src/commands/inserting';
import type { Place } from '../../src/kernel/following';
import { insertCode } from '../../src/newCells';

/** A notebook of cells with these sources, the first of them active. */
function notebook(sources: string[], readOnly = false) {
  const cursor: unknown[] = [];
  const content = {
    activeCell: {},
    activeCellIndex: 0,
    mode: 'command',
    model: {
      readOnly,
      sharedModel: {
        insertCells: (index: number, cells: readonly { readonly source: string }[]) => sources.splice(index, 0, ...cells.map(({ source }) => source))
      }
    },
    deselectAll: () => undefined,
    activate: () => undefined,
    scrollToItem: () => {
      content.activeCell = { ready: Promise.resolve(), editor: { setCursorPosition: (place: object) => cursor.push(place) } };
      return Promise.resolve();
    }
  };
  return { content, cursor, sources, place: { kind: 'notebook', widget: { content } } as unknown as Place };
}

test('the cell comes below the active one, with the cursor in its empty line', async () => {
  const { content, cursor, place, sources } = notebook(['a', 'b']);
  await insertMagic(place, '%%llm');
  expect(sources).toEqual(['a', '%%llm\n', 'b']);
  expect([content.activeCellIndex, content.mode, cursor]).toEqual([1, 'edit', [{ line: 1, column: 0 }]]);
});

test('in a console it comes before what has been typed', async () => {
  let source = 'Who are you?';
  const sharedModel = { getSource: () => source, setSource: (text: string) => (source = text) };
  const widget = { console: { promptCell: { model: { sharedModel }, editor: null } }, activate: () => undefined };
  await insertMagic({ kind: 'console', widget } as unknown as Place, '%%llm');
  expect(source).toBe('%%llm\nWho are you?');
});

test('nothing is put into a notebook that cannot be changed, or is not there', async () => {
  const { content, place, sources } = notebook(['a'], true);
  expect(canInsert(place)).toBe(false);
  expect(canInsert(null)).toBe(false);
  expect(insertCode(content as unknown as Notebook, 0, ['x'])).toBe(false);
  expect(insertCode({ model: null } as unknown as Notebook, 0, ['x'])).toBe(false);
  await insertMagic(place, '%%llm');
  expect(sources).toEqual(['a']);
});
