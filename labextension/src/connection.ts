/** One panel's line to one kernel: a comm that this side opens, so that it also answers while a cell runs. */

import type { ISessionContext } from '@jupyterlab/apputils';
import type { Kernel, KernelMessage } from '@jupyterlab/services';
import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';

import { CONTROL_TARGET, ModelError, readMessage, type Request, type Snapshot } from './model';

/**
 * no-notebook ─ follow ─→ no-kernel ─ kernel ─→ unasked ─ attach ─→ connecting ─→ live | not-loaded | incompatible
 * any of the last five ─ restart ─→ restarting ─ idle ─→ unasked;   any ─→ dead
 */
export type LinkState =
  | { readonly kind: 'no-notebook' | 'no-kernel' | 'unasked' | 'connecting' | 'restarting' | 'dead' }
  | { readonly kind: 'not-loaded'; readonly failure: string }
  | { readonly kind: 'incompatible'; readonly reason: string }
  | { readonly kind: 'live'; readonly snapshot: Snapshot; readonly receivedAt: number };

const LOAD_LINE = '%load_ext gleitzeit_nb';
const SUBSHELL_PATIENCE_MS = 2000;
const SPEAKS_OF_US = /gleitzeit|%%?(?:llm|sandbox)\b/;

/** Waits until the comm has a subshell, so that its messages need not queue behind a running cell. Kernels without any go on at once. */
async function pastMainShell(kernel: Kernel.IKernelConnection, comm: Kernel.IComm): Promise<void> {
  await kernel.info.catch(() => undefined);
  const started: unknown = Reflect.get(comm, 'subshellStarted'); // JupyterLab's class has it, its interface (4.6) does not
  if (kernel.supportsSubshells && String(comm.commsOverSubshells) !== 'disabled' && started instanceof Promise) {
    const patience = new Promise(resolve => window.setTimeout(resolve, SUBSHELL_PATIENCE_MS));
    await Promise.race([started.catch(() => undefined), patience]);
  }
}

export class KernelLink implements IDisposable {
  /** Makes this side ask the kernel of every notebook it follows, instead of waiting for a cell that speaks of us. */
  private wanted = false;
  private context: ISessionContext | null = null;
  private comm: Kernel.IComm | null = null;
  private current: LinkState = { kind: 'no-notebook' };
  private askAtIdle = false;
  private busyFrom: number | null = null;
  private disposed = false;
  private readonly refusal = new Signal<this, string>(this);
  private readonly signal = new Signal<this, LinkState>(this);

  get state(): LinkState {
    return this.current;
  }

  /** Why the kernel did not do what it was told, in its words. */
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

  follow(context: ISessionContext | null): void {
    if (context === this.context) {
      return;
    }
    if (this.context) {
      this.context.kernelChanged.disconnect(this.onKernelChanged, this);
      this.context.statusChanged.disconnect(this.onStatusChanged, this);
      this.context.iopubMessage.disconnect(this.onIOPubMessage, this);
      this.context.disposed.disconnect(this.onContextDisposed, this);
    }
    this.context = context;
    if (context) {
      context.kernelChanged.connect(this.onKernelChanged, this);
      context.statusChanged.connect(this.onStatusChanged, this);
      context.iopubMessage.connect(this.onIOPubMessage, this);
      context.disposed.connect(this.onContextDisposed, this);
    }
    this.begin();
  }

  setWanted(wanted: boolean): void {
    this.wanted = wanted;
    if (wanted && (this.current.kind === 'unasked' || this.current.kind === 'not-loaded')) {
      void this.attach();
    }
  }

  /** Tells the kernel to do something. What came of it shows in the next snapshot, or as a refusal. */
  send(request: Request): void {
    if (this.comm && !this.comm.isDisposed) {
      this.comm.send(request);
    }
  }

  /** Loads the extension in the kernel, as a cell would, but without a place in its history. */
  async load(): Promise<void> {
    const kernel = this.kernel;
    if (!kernel) {
      return;
    }
    const context = this.context;
    let failure = '';
    this.become({ kind: 'connecting' });
    try {
      const future = kernel.requestExecute({ code: LOAD_LINE, store_history: false, allow_stdin: false, stop_on_error: false });
      const reply = await future.done;
      if (reply.content.status === 'error') {
        failure = `${reply.content.ename}: ${reply.content.evalue}`.split('\n')[0];
      }
    } catch (error) {
      failure = String(error);
    }
    if (context !== this.context) {
      return;
    }
    if (failure) {
      this.become({ kind: 'not-loaded', failure });
    } else {
      await this.attach();
    }
  }

  private get kernel(): Kernel.IKernelConnection | null {
    return this.context?.session?.kernel ?? null;
  }

  /** A new notebook, a new kernel or a restarted one: forget what was shown. */
  private begin(): void {
    this.detach();
    this.askAtIdle = false;
    this.busyFrom = null;
    this.become({ kind: this.context ? (this.kernel ? 'unasked' : 'no-kernel') : 'no-notebook' });
    if (this.wanted && this.kernel) {
      void this.attach();
    }
  }

  private async attach(): Promise<void> {
    const kernel = this.kernel;
    if (!kernel || kernel.status === 'dead') {
      return;
    }
    this.detach();
    this.become({ kind: 'connecting' });
    let comm: Kernel.IComm;
    try {
      comm = kernel.createComm(CONTROL_TARGET);
    } catch (error) {
      this.become({ kind: 'incompatible', reason: String(error) });
      return;
    }
    this.comm = comm;
    comm.onMsg = message => this.receive(comm, message);
    comm.onClose = () => {
      if (this.comm === comm) {
        this.comm = null;
        this.become({ kind: 'not-loaded', failure: '' });
      }
    };
    await pastMainShell(kernel, comm);
    if (this.comm !== comm) {
      return;
    }
    // A kernel that does not know the target closes the comm before it reports idle: only then is it clear that somebody listens.
    await comm.open().done.catch(() => undefined);
    if (this.comm === comm) {
      this.send({ type: 'hello' });
    }
  }

  private detach(): void {
    const comm = this.comm;
    this.comm = null;
    if (comm && !comm.isDisposed) {
      comm.onMsg = () => undefined;
      comm.onClose = () => undefined;
      if (this.kernel && this.kernel.connectionStatus === 'connected' && this.kernel.status !== 'dead') {
        comm.close();
      }
      comm.dispose();
    }
  }

  private receive(comm: Kernel.IComm, message: KernelMessage.ICommMsgMsg): void {
    if (this.comm !== comm) {
      return;
    }
    try {
      const said = readMessage(message.content.data);
      if (said?.type === 'snapshot') {
        this.become({ kind: 'live', snapshot: said.snapshot, receivedAt: Date.now() });
      } else if (said?.type === 'answer' && said.answer.outcome === 'error') {
        this.refusal.emit(said.answer.text);
      }
    } catch (error) {
      if (!(error instanceof ModelError)) {
        throw error;
      }
      this.become({ kind: 'incompatible', reason: error.message });
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

  private onStatusChanged(_: ISessionContext, status: Kernel.Status): void {
    if (status === 'restarting' || status === 'autorestarting') {
      this.busyFrom = null;
      this.detach();
      this.become({ kind: 'restarting' });
    } else if (status === 'dead' || status === 'terminating') {
      this.busyFrom = null;
      this.detach();
      this.become({ kind: 'dead' });
    } else if (status === 'idle' && (this.current.kind === 'restarting' || this.current.kind === 'dead')) {
      this.begin();
    }
  }

  private onIOPubMessage(_: ISessionContext, message: KernelMessage.IMessage): void {
    const type = message.header.msg_type;
    if (type === 'execute_input' && (this.current.kind === 'unasked' || this.current.kind === 'not-loaded')) {
      const { code } = (message as KernelMessage.IExecuteInputMsg).content;
      this.askAtIdle = this.askAtIdle || SPEAKS_OF_US.test(code);
    } else if (type === 'status' && 'msg_type' in message.parent_header && message.parent_header.msg_type === 'execute_request') {
      this.onCell((message as KernelMessage.IStatusMsg).content.execution_state === 'busy');
    }
  }

  private onCell(running: boolean): void {
    this.busyFrom = running ? Date.now() : null;
    if (!running && this.askAtIdle) {
      this.askAtIdle = false;
      void this.attach();
    } else {
      this.signal.emit(this.current);
    }
  }
}
