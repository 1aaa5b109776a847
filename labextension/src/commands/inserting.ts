/** Cells that are put into the notebook or console that a person works in. */

import type { Notebook } from '@jupyterlab/notebook';

import type { Place } from '../kernel/following';
import { insertCode } from '../newCells';

export function canInsert(place: Place | null): boolean {
  return place !== null && (place.kind === 'console' || (place.widget.content.model !== null && !place.widget.content.model.readOnly));
}

/** A cell that begins with this line, below the active one, with the cursor in its empty second line. In a console: in the prompt. */
export async function insertMagic(place: Place, line: string): Promise<void> {
  if (place.kind === 'console') {
    const cell = place.widget.console.promptCell;
    if (cell) {
      cell.model.sharedModel.setSource(`${line}\n${cell.model.sharedModel.getSource()}`);
      cell.editor?.setCursorPosition({ line: 1, column: 0 });
      place.widget.activate();
    }
    return;
  }
  const notebook = place.widget.content;
  const index = notebook.activeCell ? notebook.activeCellIndex + 1 : 0;
  if (insertCode(notebook, index, [`${line}\n`])) {
    await editAt(notebook, index, { line: 1, column: 0 });
  }
}

async function editAt(notebook: Notebook, index: number, cursor: { line: number; column: number }): Promise<void> {
  notebook.deselectAll();
  notebook.activeCellIndex = index;
  await notebook.scrollToItem(index, 'smart');
  const cell = notebook.activeCell;
  await cell?.ready; // a cell out of sight has no editor yet
  if (cell && cell === notebook.activeCell) {
    notebook.activate();
    notebook.mode = 'edit';
    cell.editor?.setCursorPosition(cursor);
  }
}
