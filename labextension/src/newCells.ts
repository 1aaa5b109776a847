/** Cells of code that are put into a notebook. */

import type { Notebook } from '@jupyterlab/notebook';

/** Whether the notebook took them: one that is read-only or still loads does not. */
export function insertCode(notebook: Notebook, index: number, sources: readonly string[]): boolean {
  if (!notebook.model || notebook.model.readOnly) {
    return false;
  }
  const metadata = { trusted: true }; // like every new cell of one’s own: it has no output yet
  notebook.model.sharedModel.insertCells(
    index,
    sources.map(source => ({ cell_type: 'code', source, metadata }))
  );
  return true;
}
