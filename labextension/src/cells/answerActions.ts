/** What a person can do with an answer: each is one change of the notebook that undo takes back. Nothing runs outside the sandbox. */

import { Clipboard, type ISessionContextDialogs } from '@jupyterlab/apputils';
import type { Cell } from '@jupyterlab/cells';
import { NotebookActions, type NotebookPanel } from '@jupyterlab/notebook';
import type { ITranslator } from '@jupyterlab/translation';

import type { Snapshot } from '../kernel/model';
import { insertCode } from '../newCells';
import type { IGleitzeit } from '../tokens';
import { type CodeBlock, cellSource, sandboxSource } from './answers';
import { readMagic, settingOption } from './magicLine';

/** How long a kernel that is asked whether it has the extension may take to say so. */
const PATIENCE_MS = 10_000;

export class AnswerActions {
  constructor(
    private readonly panel: NotebookPanel,
    private readonly gleitzeit: IGleitzeit | null,
    private readonly dialogs: ISessionContextDialogs | null,
    private readonly translator: ITranslator
  ) {}

  get isReadOnly(): boolean {
    return this.panel.content.model?.readOnly ?? true;
  }

  /** What the kernel's instances are; null while nobody says. */
  get snapshot(): Snapshot | null {
    const state = this.gleitzeit?.link.state;
    return state?.kind === 'live' ? state.snapshot : null;
  }

  async copy(text: string): Promise<void> {
    // The modern way exists on secure pages only, and asks for a right that may be denied.
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      Clipboard.copyToSystem(text);
    }
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
    } else {
      this.insertBelow(cell, [source]);
    }
    const below = content.widgets[content.widgets.indexOf(cell) + 1];
    await this.loadWhereNew();
    content.activeCellIndex = content.widgets.indexOf(below);
    await this.run(below);
  }

  /** Whether the cell can be asked again: it may have been edited since. */
  canAsk(cell: Cell): boolean {
    return !this.isReadOnly && readMagic(cell.model.sharedModel.getSource())?.kind === 'llm' && cell.model.getMetadata('editable') !== false;
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

  /** A kernel that has just begun does not know the magic. */
  private async loadWhereNew(): Promise<void> {
    const link = this.gleitzeit?.link;
    if (link?.state.kind === 'connecting') {
      await new Promise<void>(resolve => {
        const settle = (): void => {
          if (link.state.kind !== 'connecting') {
            stop();
          }
        };
        const stop = (): void => {
          window.clearTimeout(timer);
          link.changed.disconnect(settle);
          resolve();
        };
        const timer = window.setTimeout(stop, PATIENCE_MS);
        link.changed.connect(settle);
      });
    }
    if (link?.state.kind === 'not-loaded' || link?.state.kind === 'unasked') {
      await this.gleitzeit?.load();
    }
  }

  private insertBelow(cell: Cell, sources: readonly string[]): void {
    const { content } = this.panel;
    const at = content.widgets.indexOf(cell) + 1;
    if (!at || !insertCode(content, at, sources)) {
      return;
    }
    content.deselectAll();
    content.mode = 'command';
    content.activeCellIndex = at;
    void content.scrollToItem(at);
    content.activate();
  }

  private async run(cell: Cell): Promise<void> {
    const { content, sessionContext } = this.panel;
    await NotebookActions.runCells(content, [cell], sessionContext, this.dialogs ?? undefined, this.translator);
  }
}
