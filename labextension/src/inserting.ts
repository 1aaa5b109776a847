/** Cells that are put into the notebook or console that a person works in. */

import type { ISessionContext } from '@jupyterlab/apputils';
import { type Notebook, NotebookActions } from '@jupyterlab/notebook';

import { LOAD_LINE } from './connection';
import type { Place } from './following';

export type Magic = 'llm' | 'sandbox';

/** The first line of a new cell. `model`: the one that a person wants there; "" leaves the choice to the pool. */
export function magicLine(magic: Magic, model: string): string {
  return magic === 'llm' && model ? `%%llm --model ${model}` : `%%${magic}`;
}

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
  if (insertCode(notebook, index, `${line}\n`)) {
    await editAt(notebook, index, { line: 1, column: 0 });
  }
}

function insertCode(notebook: Notebook, index: number, source: string): boolean {
  if (!notebook.model || notebook.model.readOnly) {
    return false;
  }
  notebook.model.sharedModel.insertCell(index, { cell_type: 'code', source, metadata: { trusted: true } });
  return true;
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

/** Lines that do something, without what IPython passes over. */
function statements(source: string): string[] {
  return source
    .split('\n')
    .map(line => line.trim())
    .filter(line => line !== '' && !line.startsWith('#'));
}

/**
 * Runs the line that loads the extension where a person sees it, and says whether it found a place for it: the notebook's cell that holds
 * it alone, else a new one before the first cell of code; in a console the line itself. A cell that holds more is not run unasked.
 */
export async function runLoadLine(place: Place, dialogs: ISessionContext.IDialogs): Promise<boolean> {
  if (place.kind === 'console') {
    await place.widget.console.inject(LOAD_LINE);
    return true;
  }
  const notebook = place.widget.content;
  const sources = notebook.widgets.map(({ model }) => (model.type === 'code' ? statements(model.sharedModel.getSource()) : []));
  let index = sources.findIndex(lines => lines.length === 1 && lines[0] === LOAD_LINE);
  if (index < 0) {
    if (sources.some(lines => lines.includes(LOAD_LINE))) {
      return false;
    }
    index = Math.max(0, notebook.widgets.findIndex(({ model }) => model.type === 'code'));
    if (!insertCode(notebook, index, LOAD_LINE)) {
      return false;
    }
  }
  await NotebookActions.runCells(notebook, [notebook.widgets[index]], place.context, dialogs);
  return true;
}
