/** Answers in a console: what was run stays as it is, so that everything goes into the prompt or is a further cell. */

import type { Cell } from '@jupyterlab/cells';
import type { ConsolePanel } from '@jupyterlab/console';

import { readMagic, settingOption } from '../magicLine';
import type { IGleitzeit } from '../tokens';
import { AnswerActions } from './answerActions';
import { type CodeBlock, cellSource, sandboxSource } from './answers';

export class ConsoleAnswers extends AnswerActions {
  readonly isConsole = true;
  readonly isReadOnly = false;

  constructor(
    private readonly panel: ConsolePanel,
    gleitzeit: IGleitzeit | null
  ) {
    super(gleitzeit);
  }

  /** Into the prompt, below what stands there. */
  insert(_: Cell, blocks: readonly CodeBlock[]): void {
    const { promptCell } = this.panel.console;
    if (promptCell) {
      const { sharedModel } = promptCell.model;
      const source = [sharedModel.getSource().trimEnd(), ...blocks.map(cellSource)].filter(Boolean).join('\n\n');
      sharedModel.setSource(source);
      const lines = source.split('\n');
      promptCell.editor?.setCursorPosition({ line: lines.length - 1, column: lines[lines.length - 1].length });
      this.panel.activate();
    }
  }

  async runInSandbox(_: Cell, blocks: readonly CodeBlock[]): Promise<void> {
    await this.loadWhereNew();
    await this.panel.console.inject(sandboxSource(blocks));
  }

  async ask(cell: Cell, instance: string): Promise<void> {
    const source = cell.model.sharedModel.getSource();
    const magic = readMagic(source);
    if (magic) {
      const { from, to, text } = settingOption(source, magic, '--instance', instance);
      await this.panel.console.inject(`${source.slice(0, from)}${text}${source.slice(to)}`);
    }
  }

  async askAgain(cell: Cell): Promise<void> {
    await this.panel.console.inject(cell.model.sharedModel.getSource());
  }
}
