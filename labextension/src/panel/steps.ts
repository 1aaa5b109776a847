/** The next steps that the panel offers where it has nothing to show. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import { NotebookActions, type NotebookPanel } from '@jupyterlab/notebook';

import { COPY_DIAGNOSTICS, INSERT_LLM, OPEN_SETTINGS, RELOAD, RESTART_POOL } from '../commands/commands';
import { canInsert, insertMagic, magicLine } from '../commands/inserting';
import type { MenuEntry } from '../commands/menus';
import type { IGleitzeit } from '../tokens';

export interface NextSteps {
  readonly openNotebook: () => void;
  readonly chooseKernel: () => void;
  /** Without a question: it is offered where the kernel is dead, and has nothing to lose. */
  readonly restartKernel: () => void;
  /** Inserts the line that loads the extension as a cell, and runs it. */
  readonly load: () => void;
  /** Inserts a cell that looks for what is missing, and runs it. */
  readonly examine: () => void;
  readonly copy: (text: string) => void;
  /** Asks the kernel whether it has the extension, where that is not done unasked or it gave no answer. */
  readonly ask: () => void;
  /** Inserts a cell that asks the pool. */
  readonly insertPrompt: () => void;
  /** Inserts a cell that asks this instance, whose name needs no quotes. */
  readonly insertPromptFor: (instance: string) => void;
  /** What can be done with the pool as a whole: the commands that the palette has too. */
  readonly poolMenu: () => readonly MenuEntry[];
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
  const examine = (): void => void runner(EXAMINE, notebook => notebook.content.activeCellIndex + 1)?.();
  return {
    openNotebook: () => void app.commands.execute(NEW_NOTEBOOK),
    chooseKernel: () => void gleitzeit.chooseKernel(),
    restartKernel: () => {
      const context = gleitzeit.following.current?.context;
      // Not `restart`, which JupyterLab refuses to a kernel that is dead.
      void context?.changeKernel({ name: context.session?.kernel?.name || context.prevKernelName });
    },
    load: () => void gleitzeit.load(),
    examine,
    copy: text => void navigator.clipboard.writeText(text),
    ask: () => void gleitzeit.link.attach(),
    insertPrompt: () => void app.commands.execute(INSERT_LLM),
    insertPromptFor: instance => {
      const { current } = gleitzeit.following;
      if (current && canInsert(current)) {
        void insertMagic(current, `${magicLine('llm', gleitzeit.settings.values.defaultModel)} --instance ${instance}`);
      }
    },
    poolMenu: () => {
      const entry = (id: string): MenuEntry => ({
        label: app.commands.label(id),
        caption: app.commands.caption(id),
        run: () => void app.commands.execute(id)
      });
      const doctor: MenuEntry = {
        label: gleitzeit.trans.__('Run %gleitzeit doctor'),
        caption: gleitzeit.trans.__('Inserts a cell that says what is missing here, and what to do'),
        run: examine
      };
      const pool = [RELOAD, RESTART_POOL, COPY_DIAGNOSTICS].filter(id => app.commands.isEnabled(id)).map(entry);
      return [...pool, doctor, 'separator', entry(OPEN_SETTINGS)];
    }
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
