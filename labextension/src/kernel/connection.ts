/** The page's line to the kernel of the notebook or console that it follows. */

import type { ISessionContext } from '@jupyterlab/apputils';
import type { Kernel, KernelMessage } from '@jupyterlab/services';
import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';

import { SHORTEST_INTERVAL_S } from '../settings/settings';
import type { LinkState, LiveState } from './linkState';
import { type Answer, type Command, CONTROL_TARGET, ModelError, readMessage, type Welcome } from './model';
import { Pacing } from './pacing';
import { reach } from './reaching';
import { type Progress, RequestError, Requests } from './requests';
import { pageTimers } from './timers';
import type { Wire } from './wire';

export const LOAD_LINE = '%load_ext gleitzeit_nb';
const ANSWER_MS = 4000;
const MOST_ASKED = 2;
export const SPEAKS_OF_US = /gleitzeit|%%?(?:llm|sandbox)\b/;

export class KernelLink implements IDisposable {
  private context: ISessionContext | null = null;
  private wire: Wire | null = null;
  private current: LinkState = { kind: 'no-notebook' };
  private greeting: Welcome | null = null;
  private readonly requests = new Requests(pageTimers);
  /** Somebody looks: the kernel of whatever is followed is asked, instead of waiting for a cell that speaks of us. */
  private wanted = false;
  private auto = true;
  private speaks: () => boolean = () => false;
  private askAtIdle = false;
  private loading = false;
  private failure = '';
  private busyFrom: number | null = null;
  private known = false;
  private readonly pacing = new Pacing<LiveState>(pageTimers, () => performance.now(), state => this.become(state));
  private answerTimer = 0;
  /** The context restarts its kernel and will say kernelChanged: an "idle" before that is the old one's last word. */
  private renewing = false;
  private disposed = false;
  private readonly refusal = new Signal<this, string>(this);
  private readonly signal = new Signal<this, LinkState>(this);

  /** `connections`: all that the page has to kernels; of several to one kernel, only one handles comms. */
  constructor(private readonly connections: () => Iterable<Kernel.IKernelConnection> = () => []) {}

  get state(): LinkState {
    return this.current;
  }

  /** Why the kernel did not do what nobody waits for any more, in its words. */
  get refused(): ISignal<this, string> {
    return this.refusal;
  }

  get changed(): ISignal<this, LinkState> {
    return this.signal;
  }

  /** Since when a cell runs (ms since the epoch); null while none does. Not the kernel's status: a subshell's "idle" ends that too early. */
  get busySince(): number | null {
    return this.busyFrom;
  }

  /** Whether the kernel has not said yet what it does: a cell may be running since before the page came, or it is just starting. */
  get isUnknown(): boolean {
    return this.busyFrom === null && this.kernel?.status === 'unknown';
  }

  /** What the kernel can do; null before it has said so. */
  get welcome(): Welcome | null {
    return this.greeting;
  }

  /** Whether this kernel was live at any time since it is followed: then its end is news. */
  get wasLive(): boolean {
    return this.known;
  }

  /** Whether a command has to wait for the running cell: the kernel has no subshell for it. */
  get mustWait(): boolean {
    return this.busyFrom !== null && !this.passesCells;
  }

  /** Whether a kernel is asked without a person's word. */
  get autoAttach(): boolean {
    return this.auto;
  }

  set autoAttach(auto: boolean) {
    if (auto !== this.auto) {
      this.auto = auto;
      this.askIfWanted();
      this.signal.emit(this.current);
    }
  }

  /** Shortest time between two changes of a live state, in s. */
  get refreshInterval(): number {
    return this.pacing.interval / 1000;
  }

  set refreshInterval(interval: number) {
    this.pacing.interval = interval > SHORTEST_INTERVAL_S ? interval * 1000 : 0;
  }

  /** Whether the page has a line to the kernel at all: the server may be gone. */
  get isConnected(): boolean {
    return this.kernel?.connectionStatus === 'connected';
  }

  get isDisposed(): boolean {
    return this.disposed;
  }

  dispose(): void {
    if (!this.disposed) {
      this.disposed = true;
      this.follow(null);
      Signal.clearData(this);
    }
  }

  /** `speaks`: whether what is followed holds a cell that speaks of us, as after a reload of the page. */
  follow(context: ISessionContext | null, speaks: () => boolean = () => false): void {
    if (context === this.context) {
      return;
    }
    if (this.context) {
      this.context.kernelChanged.disconnect(this.onKernelChanged, this);
      this.context.statusChanged.disconnect(this.onStatusChanged, this);
      this.context.connectionStatusChanged.disconnect(this.onConnectionStatusChanged, this);
      this.context.iopubMessage.disconnect(this.onIOPubMessage, this);
      this.context.disposed.disconnect(this.onContextDisposed, this);
    }
    this.context = context;
    this.speaks = speaks;
    if (context) {
      context.kernelChanged.connect(this.onKernelChanged, this);
      context.statusChanged.connect(this.onStatusChanged, this);
      context.connectionStatusChanged.connect(this.onConnectionStatusChanged, this);
      context.iopubMessage.connect(this.onIOPubMessage, this);
      context.disposed.connect(this.onContextDisposed, this);
    }
    this.begin();
  }

  setWanted(wanted: boolean): void {
    this.wanted = wanted;
    this.askIfWanted();
  }

  /**
   * Tells the kernel to do something, and resolves with what it says when it is done. Rejects with a RequestError (`whyNot` words it).
   * `tell` hears meanwhile that the running cell has to end first, or that the kernel has begun.
   */
  request(command: Command, tell?: (progress: Progress) => void): Promise<Answer> {
    const { wire } = this;
    if (!wire || this.current.kind !== 'live') {
      return Promise.reject(new RequestError('not-live'));
    }
    this.requests.hold(this.mustWait);
    return this.requests.begin(request => wire.send({ ...command, request }), tell);
  }

  /** Loads the extension by `run`, and looks whether the kernel then answers. */
  async load(run: () => Promise<unknown> = () => this.runLoadLine()): Promise<void> {
    const { context } = this;
    if (!this.kernel || this.loading) {
      return;
    }
    this.loading = true;
    this.failure = '';
    this.become({ kind: 'connecting' });
    try {
      await run();
    } catch (error) {
      this.failure = oneLine(String(error));
    } finally {
      this.loading = false;
    }
    if (context === this.context) {
      await this.attach();
    }
  }

  /** As a cell would, but without a place in the history. */
  async runLoadLine(): Promise<void> {
    await this.kernel?.requestExecute({ code: LOAD_LINE, store_history: false, allow_stdin: false, stop_on_error: false }).done;
  }

  /** Asks the kernel whether it has the extension. */
  attach(): Promise<void> {
    return this.ask(1);
  }

  private async ask(attempt: number): Promise<void> {
    const { kernel } = this;
    if (!kernel || kernel.isDisposed || kernel.status === 'dead') {
      return;
    }
    this.detach();
    this.become({ kind: 'connecting' });
    this.expectAnswer(attempt);
    const wire: Wire = reach(kernel, this.connections(), CONTROL_TARGET, {
      heard: data => this.wire === wire && this.hear(data),
      closed: () => this.wire === wire && this.onClosed()
    });
    this.wire = wire;
    try {
      // A kernel that does not know the target closes the comm before it reports idle: only then is it clear that somebody listens.
      await wire.open();
    } catch (error) {
      if (this.wire === wire) {
        this.become({ kind: 'incompatible', reason: oneLine(String(error)) });
      }
      return;
    }
    if (this.wire === wire) {
      wire.send({ type: 'hello' });
    }
  }

  private expectAnswer(attempt: number): void {
    window.clearTimeout(this.answerTimer);
    this.answerTimer = window.setTimeout(() => this.onNoAnswer(attempt), ANSWER_MS);
  }

  /** A kernel that is idle and yet says nothing: it is asked once more, and then a person is told. It may still answer. */
  private onNoAnswer(attempt: number): void {
    if (this.current.kind !== 'connecting' || this.loading) {
      return;
    }
    if (!this.isConnected || this.kernel?.status !== 'idle') {
      this.expectAnswer(attempt);
    } else if (attempt < MOST_ASKED) {
      void this.ask(attempt + 1);
    } else {
      this.become({ kind: 'silent' });
    }
  }

  private get kernel(): Kernel.IKernelConnection | null {
    return this.context?.session?.kernel ?? null;
  }

  /** Whether the kernel answers while a cell runs. */
  get passesCells(): boolean {
    return this.wire !== null && this.wire.passesCells && (this.greeting?.answers_while_busy ?? true);
  }

  /** A new notebook, a new kernel or a restarted one: forget what was shown. */
  private begin(): void {
    this.detach();
    this.askAtIdle = false;
    this.renewing = false;
    this.busyFrom = null;
    this.known = false;
    this.failure = '';
    this.become({ kind: this.context ? (this.kernel ? 'unasked' : 'no-kernel') : 'no-notebook' });
    this.askIfWanted();
  }

  private askIfWanted(): void {
    const { kind } = this.current;
    if (this.auto && this.kernel && ((this.wanted && (kind === 'unasked' || kind === 'not-loaded')) || (kind === 'unasked' && this.speaks()))) {
      void this.attach();
    }
  }

  private detach(): void {
    const { wire } = this;
    this.wire = null;
    this.greeting = null;
    window.clearTimeout(this.answerTimer);
    this.pacing.forget();
    wire?.dispose();
    this.requests.giveUp();
  }

  /** The kernel has closed its end: it has no such target, has unloaded it, or the connection that carried it is gone. */
  private onClosed(): void {
    const { wire } = this;
    const lost = wire?.isLost === true;
    this.detach();
    if (lost && this.kernel?.isDisposed === false) {
      wire?.clearAway(this.kernel);
      void this.attach();
    } else if (lost) {
      this.become({ kind: 'no-kernel' });
    } else {
      this.become({ kind: 'not-loaded', failure: this.failure });
    }
  }

  private hear(data: unknown): void {
    try {
      const said = readMessage(data);
      if (said?.type === 'snapshot') {
        this.known = true;
        this.pacing.take({ kind: 'live', snapshot: said.snapshot, receivedAt: Date.now() });
      } else if (said?.type === 'welcome') {
        this.greeting = said.welcome;
        this.learnBusy(said.welcome.cell_s);
      } else if (said?.type === 'answer' && !this.requests.take(said.answer) && said.answer.outcome === 'error') {
        this.refusal.emit(said.answer.text);
      }
    } catch (error) {
      if (!(error instanceof ModelError)) {
        throw error;
      }
      this.pacing.forget();
      this.become({ kind: 'incompatible', reason: error.message });
    }
  }

  /** A cell that was running when the page came: nothing else tells of its beginning. */
  private learnBusy(cell: number | null): void {
    if (cell !== null && this.busyFrom === null) {
      this.busyFrom = Date.now() - cell * 1000;
      this.requests.hold(this.mustWait);
    }
  }

  private become(state: LinkState): void {
    this.current = state;
    this.signal.emit(state);
  }

  private onKernelChanged(): void {
    this.begin();
  }

  private onContextDisposed(): void {
    this.follow(null);
  }

  private onConnectionStatusChanged(): void {
    this.signal.emit(this.current);
  }

  private onStatusChanged(context: ISessionContext, status: Kernel.Status): void {
    const restarted = status === 'starting' && this.current.kind === 'live'; // from another page
    if (status === 'restarting' || status === 'autorestarting' || restarted) {
      this.renewing = status === 'restarting' && (this.renewing || this.kernel?.status !== status);
      this.busyFrom = null;
      this.detach();
      this.become({ kind: 'restarting' });
    } else if (status === 'dead' || status === 'terminating') {
      this.busyFrom = null;
      this.detach();
      this.become({ kind: 'dead' });
    } else if (status === 'idle' && !this.renewing && !context.isTerminating && (this.current.kind === 'restarting' || this.current.kind === 'dead')) {
      this.begin();
    }
  }

  private onIOPubMessage(_: ISessionContext, message: KernelMessage.IMessage): void {
    const type = message.header.msg_type;
    if (type === 'execute_input' && !this.loading) {
      const { code } = (message as KernelMessage.IExecuteInputMsg).content;
      this.askAtIdle = this.askAtIdle || SPEAKS_OF_US.test(code);
    } else if (type === 'error' && this.loading) {
      const { ename, evalue } = (message as KernelMessage.IErrorMsg).content;
      this.failure = oneLine(`${ename}: ${evalue}`);
    } else if (type === 'status' && 'msg_type' in message.parent_header && message.parent_header.msg_type === 'execute_request') {
      this.onCell((message as KernelMessage.IStatusMsg).content.execution_state === 'busy');
    }
  }

  private onCell(running: boolean): void {
    this.busyFrom = running ? Date.now() : null;
    this.requests.hold(this.mustWait);
    if (!running && this.askAtIdle) {
      this.askAtIdle = false;
      if (this.auto && this.current.kind !== 'live') {
        void this.attach();
        return;
      }
    }
    this.signal.emit(this.current);
  }
}

function oneLine(text: string): string {
  return text.split('\n')[0].slice(0, 300);
}
