/** Answers in a notebook: each thing that is done with one is a change of the notebook that undo takes back. */

import type { ISessionContextDialogs } from '@jupyterlab/apputils';
import type { Cell } from '@jupyterlab/cells';
import { NotebookActions, type NotebookPanel } from '@jupyterlab/notebook';
import type { ITranslator } from '@jupyterlab/translation';

import { readMagic, settingOption } from '../magicLine';
import { insertCode } from '../newCells';
import type { IGleitzeit } from '../tokens';
import { AnswerActions } from './answerActions';
import { type CodeBlock, cellSource, sandboxSource } from './answers';

export class NotebookAnswers extends AnswerActions {
  readonly isConsole = false;

  constructor(
    private readonly panel: NotebookPanel,
    gleitzeit: IGleitzeit | null,
    private readonly dialogs: ISessionContextDialogs | null,
    private readonly translator: ITranslator
  ) {
    super(gleitzeit);
  }

  get isReadOnly(): boolean {
    return this.panel.content.model?.readOnly ?? true;
  }

  /** Puts each block in a code cell of its own below the answer's. */
  insert(cell: Cell, blocks: readonly CodeBlock[]): void {
    this.insertBelow(cell, blocks.map(cellSource));
  }

  /** Runs the blocks as one program in a `%%sandbox` cell below; in the one that is there, if it holds just that. */
  async runInSandbox(cell: Cell, blocks: readonly CodeBlock[]): Promise<void> {
    const { content } = this.panel;
    const source = sandboxSource(blocks);
    const next = content.widgets[content.widgets.indexOf(cell) + 1];
    if (next?.model.type === 'code' && next.model.sharedModel.getSource() === source) {
      content.activeCellIndex = content.widgets.indexOf(next);
    } else if (!this.insertBelow(cell, [source])) {
      return;
    }
    const below = content.widgets[content.widgets.indexOf(cell) + 1];
    await this.loadWhereNew();
    content.activeCellIndex = content.widgets.indexOf(below);
    await this.run(below);
  }

  /** Names the instance in the cell's magic line, so that the notebook says what was done, and runs the cell. */
  async ask(cell: Cell, instance: string): Promise<void> {
    const { sharedModel } = cell.model;
    const source = sharedModel.getSource();
    const magic = readMagic(source);
    if (magic) {
      const { from, to, text } = settingOption(source, magic, '--instance', instance);
      sharedModel.updateSource(from, to, text);
      await this.askAgain(cell);
    }
  }

  async askAgain(cell: Cell): Promise<void> {
    const { content } = this.panel;
    content.activeCellIndex = content.widgets.indexOf(cell);
    await this.run(cell);
  }

  private insertBelow(cell: Cell, sources: readonly string[]): boolean {
    const { content } = this.panel;
    const at = content.widgets.indexOf(cell) + 1;
    if (!at || !insertCode(content, at, sources)) {
      return false;
    }
    content.deselectAll();
    content.mode = 'command';
    content.activeCellIndex = at;
    void content.scrollToItem(at);
    content.activate();
    return true;
  }

  private async run(cell: Cell): Promise<void> {
    const { content, sessionContext } = this.panel;
    await NotebookActions.runCells(content, [cell], sessionContext, this.dialogs ?? undefined, this.translator);
  }
}
