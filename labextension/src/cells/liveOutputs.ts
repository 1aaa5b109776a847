/**
 * Keeps the outputs of a notebook true that go on changing: those of background jobs, and answers that arrive.
 *
 * JupyterLab knows which output a display is from the moment it came, and forgets it by a reload of the page or when a cell is moved. Each
 * such output names its display in its metadata, so it is found by that: what the kernel sends is written into those that JupyterLab itself
 * has not brought up to date, and what happened while no page looked is asked for. What nobody vouches for is said to be so, beside it;
 * the notebook itself is changed by the kernel's word only.
 */

import type { Cell, CodeCell, ICodeCellModel } from '@jupyterlab/cells';
import type { NotebookPanel } from '@jupyterlab/notebook';
import type { Kernel, KernelMessage } from '@jupyterlab/services';
import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';

import { OUTPUTS_TARGET } from '../kernel/model';
import { reach } from '../kernel/reaching';
import type { Wire } from '../kernel/wire';
import { displayId, isShown, type Mark, readMark, readOutputs, readShown, type Shown, type Standing, standing } from './marks';

const SETTLE_MS = 150;
const MOST_ASKED = 200;

type Outputs = ICodeCellModel['outputs'];
type Output = ReturnType<Outputs['get']>;

/** One that is not final. */
export interface LiveOutput {
  readonly cell: CodeCell;
  readonly index: number;
  readonly mark: Mark;
  readonly standing: Standing;
}

export class LiveOutputs implements IDisposable {
  private readonly seen = new WeakSet<Cell>();
  /** What shows what the kernel said last. */
  private vouched = new WeakSet<Output>();
  /** Displays that the kernel does not know. */
  private unknown = new Set<string>();
  /** Displays of which it has said something since it was asked. */
  private heard = new Set<string>();
  private wire: Wire | null = null;
  private timer = 0;
  private disposed = false;
  private readonly signal = new Signal<this, void>(this);

  /** `connections`: all that the page has to kernels. */
  constructor(
    private readonly panel: NotebookPanel,
    private readonly connections: () => Iterable<Kernel.IKernelConnection>
  ) {
    const { content, sessionContext } = panel;
    content.modelChanged.connect(this.onModel, this);
    sessionContext.iopubMessage.connect(this.onMessage, this);
    sessionContext.kernelChanged.connect(this.begin, this);
    sessionContext.statusChanged.connect(this.onStatus, this);
    sessionContext.connectionStatusChanged.connect(this.begin, this);
    panel.disposed.connect(this.dispose, this);
    void sessionContext.ready.then(() => this.plan());
    this.onModel();
  }

  /** Emitted when one of them may stand otherwise. */
  get changed(): ISignal<this, void> {
    return this.signal;
  }

  get isDisposed(): boolean {
    return this.disposed;
  }

  dispose(): void {
    if (!this.disposed) {
      this.disposed = true;
      window.clearTimeout(this.timer);
      this.hangUp();
      Signal.clearData(this);
    }
  }

  /** Those that are not final, in the order of the notebook. */
  found(): LiveOutput[] {
    const general = this.general();
    return this.panel.content.widgets.filter(isCode).flatMap(cell => {
      const { outputs } = cell.model;
      return Array.from({ length: outputs.length }, (_, index) => outputs.get(index)).flatMap((output, index) => {
        const mark = readMark(output.metadata);
        return mark ? { cell, index, mark, standing: general === 'following' ? this.standingOf(output, mark) : general } : [];
      });
    });
  }

  private general(): Standing {
    const { sessionContext } = this.panel;
    const kernel = sessionContext.session?.kernel;
    return standing({
      status: kernel && !kernel.isDisposed ? kernel.status : null,
      connection: kernel?.connectionStatus ?? 'disconnected',
      isSettled: sessionContext.isReady
    });
  }

  private standingOf(output: Output, { live }: Mark): Standing {
    return this.unknown.has(live) ? 'ended' : this.vouched.has(output) ? 'following' : 'asking';
  }

  // -- what happens in the page -----------------------------------------------------------------------------------------------

  private onModel(): void {
    this.panel.content.model?.cells.changed.connect(this.onCells, this);
    this.onCells();
  }

  private onCells(): void {
    for (const cell of this.panel.content.widgets.filter(isCode)) {
      if (!this.seen.has(cell)) {
        this.seen.add(cell);
        cell.outputArea.outputLengthChanged.connect(this.plan, this); // told after every change of an output, not of their number only
      }
    }
    this.plan();
  }

  private onStatus(_: unknown, status: Kernel.Status): void {
    if (status === 'restarting' || status === 'autorestarting' || status === 'dead') {
      this.begin();
    }
  }

  /** Another kernel, or one that may have said what nobody heard: nothing is known of any output. */
  private begin(): void {
    this.hangUp();
    this.vouched = new WeakSet();
    this.unknown = new Set();
    this.plan();
  }

  /** JupyterLab changes an output in several steps; only what comes of them counts. */
  private plan(): void {
    if (!this.disposed && this.timer === 0) {
      this.timer = window.setTimeout(() => {
        this.timer = 0;
        this.askWhereNeeded();
        this.signal.emit();
      }, SETTLE_MS);
    }
  }

  // -- what the kernel says ---------------------------------------------------------------------------------------------------

  /** Told after JupyterLab's own handling of the message. */
  private onMessage(_: unknown, { header, content }: KernelMessage.IMessage): void {
    const id = displayId(header.msg_type, content);
    const shown = id === null ? null : readShown(id, content);
    if (shown) {
      this.heard.add(shown.id);
      this.show(shown);
    }
  }

  private show(shown: Shown): void {
    for (const { cell, index, mark } of this.found()) {
      if (mark.live === shown.id) {
        const { outputs } = cell.model;
        if (!isShown(outputs.get(index), shown)) {
          outputs.set(index, { output_type: 'display_data', data: { ...shown.data }, metadata: { ...shown.metadata } });
        }
        this.vouched.add(outputs.get(index));
      }
    }
    this.plan();
  }

  private askWhereNeeded(): void {
    const ids = [...new Set(this.found().flatMap(({ mark, standing }) => (standing === 'asking' ? mark.live : [])))].slice(0, MOST_ASKED);
    const kernel = this.panel.sessionContext.session?.kernel;
    if (ids.length && kernel && this.wire === null && this.general() === 'following') {
      void this.ask(kernel, ids);
    }
  }

  private async ask(kernel: Kernel.IKernelConnection, ids: readonly string[]): Promise<void> {
    this.heard = new Set();
    const wire = reach(kernel, this.connections(), OUTPUTS_TARGET, {
      heard: data => this.wire === wire && this.onAnswer(ids, data),
      closed: () => this.wire === wire && this.onClosed(ids)
    });
    this.wire = wire;
    try {
      await wire.open();
    } catch {
      if (this.wire === wire) {
        this.onClosed(ids); // it takes no comm at all
      }
    }
    if (this.wire === wire) {
      wire.send({ type: 'outputs', ids: [...ids] });
    }
  }

  private onAnswer(ids: readonly string[], message: unknown): void {
    const outputs = readOutputs(message) ?? []; // a kernel with an older version of this package knows none
    this.hangUp();
    const told = new Set(outputs.map(({ id }) => id));
    ids.filter(id => !told.has(id) && !this.heard.has(id)).forEach(id => this.unknown.add(id));
    outputs.filter(({ id }) => ids.includes(id) && !this.heard.has(id)).forEach(shown => this.show(shown));
    this.plan();
  }

  /** The extension is not loaded there; or the connection went that carried the question. */
  private onClosed(ids: readonly string[]): void {
    if (!this.wire?.isLost) {
      ids.filter(id => !this.heard.has(id)).forEach(id => this.unknown.add(id));
    }
    this.hangUp();
    this.plan();
  }

  private hangUp(): void {
    const { wire } = this;
    this.wire = null;
    wire?.dispose();
  }
}

function isCode(cell: Cell): cell is CodeCell {
  return cell.model.type === 'code';
}
