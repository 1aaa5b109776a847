/** The next steps that the panel offers where it has nothing to show. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import { NotebookActions, type NotebookPanel } from '@jupyterlab/notebook';

import type { IGleitzeit } from './tokens';

export interface NextSteps {
  readonly openNotebook: () => void;
  readonly chooseKernel: () => void;
  readonly restartKernel: () => void;
  /** Inserts the line that loads the extension as a cell, and runs it. */
  readonly load: () => void;
  /** Inserts a cell that looks for what is missing, and runs it. */
  readonly examine: () => void;
  readonly copy: (text: string) => void;
}

const NEW_NOTEBOOK = 'notebook:create-new';
const EXAMINE = '%gleitzeit doctor';

/** For the notebook or console that a person is in. */
export function nextSteps(app: JupyterFrontEnd, gleitzeit: IGleitzeit): NextSteps {
  /** What runs the line where a person would type it; undefined when there is no place for it. */
  const runner = (line: string, index: (notebook: NotebookPanel) => number): (() => Promise<unknown>) | undefined => {
    const { current } = gleitzeit.following;
    if (current?.kind === 'console') {
      return () => current.widget.console.inject(line);
    }
    if (current?.kind === 'notebook' && current.widget.content.model?.readOnly === false) {
      return () => runAsCell(current.widget, line, index(current.widget));
    }
    return undefined;
  };
  return {
    openNotebook: () => void app.commands.execute(NEW_NOTEBOOK),
    chooseKernel: () => void gleitzeit.chooseKernel(),
    restartKernel: () => void gleitzeit.restartKernel(),
    load: () => void gleitzeit.load(),
    examine: () => void runner(EXAMINE, notebook => notebook.content.activeCellIndex + 1)?.(),
    copy: text => void navigator.clipboard.writeText(text)
  };
}

/** Runs the line as a cell: the one that the notebook has, else a new one there. */
async function runAsCell(notebook: NotebookPanel, line: string, index: number): Promise<boolean> {
  const { content, sessionContext } = notebook;
  let at = content.widgets.findIndex(({ model }) => model.type === 'code' && model.sharedModel.getSource().trim() === line);
  if (at < 0) {
    content.model?.sharedModel.insertCell(index, { cell_type: 'code', source: line });
    at = index;
  }
  return NotebookActions.runCells(content, [content.widgets[at]], sessionContext);
}
