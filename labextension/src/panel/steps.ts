/** The next steps that the panel offers where it has nothing to show. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import { NotebookActions } from '@jupyterlab/notebook';

import { copyText } from '../clipboard';
import { COPY_DIAGNOSTICS, INSERT_LLM, OPEN_SETTINGS, RELOAD, RESTART_POOL } from '../commands/commands';
import { canInsert, insertMagic } from '../commands/inserting';
import type { MenuEntry } from '../commands/menus';
import type { Place } from '../kernel/following';
import { firstLine } from '../magicLine';
import { insertCode } from '../newCells';
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
  const examine = (): void => {
    const { current } = gleitzeit.following;
    if (current && canInsert(current)) {
      void runLine(current, EXAMINE);
    }
  };
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
    copy: text => void copyText(text),
    ask: () => void gleitzeit.link.attach(),
    insertPrompt: () => void app.commands.execute(INSERT_LLM),
    insertPromptFor: instance => {
      const { current } = gleitzeit.following;
      if (current && canInsert(current)) {
        void insertMagic(current, `${firstLine('llm', gleitzeit.settings.values.defaultModel)} --instance ${instance}`);
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

/** Runs the line where a person would type it: in the console, or as a cell, the one that the notebook has or a new one below the active. */
async function runLine(place: Place, line: string): Promise<void> {
  if (place.kind === 'console') {
    await place.widget.console.inject(line);
    return;
  }
  const { content, sessionContext } = place.widget;
  let at = content.widgets.findIndex(({ model }) => model.type === 'code' && model.sharedModel.getSource().trim() === line);
  if (at < 0) {
    at = content.activeCellIndex + 1;
    insertCode(content, at, [line]);
  }
  await NotebookActions.runCells(content, [content.widgets[at]], sessionContext);
}
