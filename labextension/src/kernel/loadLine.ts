/** The line that loads the extension, run where a person sees it. */

import type { ISessionContext } from '@jupyterlab/apputils';
import { NotebookActions } from '@jupyterlab/notebook';

import { insertCode } from '../newCells';
import { LOAD_LINE } from './connection';
import type { Place } from './following';

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
    if (!insertCode(notebook, index, [LOAD_LINE])) {
      return false;
    }
  }
  await NotebookActions.runCells(notebook, [notebook.widgets[index]], place.context, dialogs);
  return true;
}
