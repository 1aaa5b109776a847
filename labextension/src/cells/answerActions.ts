/** What a person can do with an answer, wherever it stands. Nothing runs outside the sandbox. */

import type { Cell } from '@jupyterlab/cells';

import type { Snapshot } from '../kernel/model';
import { readMagic } from '../magicLine';
import type { IGleitzeit } from '../tokens';
import type { CodeBlock } from './answers';

/** How long a kernel that is asked whether it has the extension may take to say so. */
const PATIENCE_MS = 10_000;

export abstract class AnswerActions {
  constructor(protected readonly gleitzeit: IGleitzeit | null) {}

  abstract get isReadOnly(): boolean;

  /** Whether blocks go into the prompt of a console, and not into cells below. */
  abstract get isConsole(): boolean;

  abstract insert(cell: Cell, blocks: readonly CodeBlock[]): void;

  /** Runs the blocks as one program in a `%%sandbox` cell. */
  abstract runInSandbox(cell: Cell, blocks: readonly CodeBlock[]): Promise<void>;

  /** Asks this instance what the cell asked, in a way that shows in what was done. */
  abstract ask(cell: Cell, instance: string): Promise<void>;

  abstract askAgain(cell: Cell): Promise<void>;

  /** What the kernel's instances are; null while nobody says. */
  get snapshot(): Snapshot | null {
    const state = this.gleitzeit?.link.state;
    return state?.kind === 'live' ? state.snapshot : null;
  }

  /** Whether the cell can be asked again: it may have been edited since. */
  canAsk(cell: Cell): boolean {
    return !this.isReadOnly && readMagic(cell.model.sharedModel.getSource())?.kind === 'llm' && cell.model.getMetadata('editable') !== false;
  }

  /** A kernel that has just begun does not know the magic. */
  protected async loadWhereNew(): Promise<void> {
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
}
