/** A comm to the kernel that this side opens, so that it has a subshell of its own and is answered while a cell runs. */

import { type Kernel, KernelMessage } from '@jupyterlab/services';
import { type JSONObject, UUID } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';

const SUBSHELL_PATIENCE_MS = 2000;

export interface Wire extends IDisposable {
  /** Whether messages need not queue behind a running cell. Known once it is open. */
  readonly passesCells: boolean;
  /** Whether it ended with the connection that carried it, while the kernel lives on. */
  readonly isLost: boolean;
  /** Resolves when the kernel has taken it; one that knows no such target has closed it before. */
  open(): Promise<void>;
  send(data: JSONObject): void;
  /** Ends what a lost one left in the kernel, over another connection to that. */
  clearAway(kernel: Kernel.IKernelConnection): void;
}

export interface Listener {
  heard(data: unknown): void;
  /** The other side is gone. Not called after `dispose`. */
  closed(): void;
}

/** Of several connections to one kernel in a page, JupyterLab lets one handle comms. `carriers`: those that might be it. */
export function wireTo(
  kernel: Kernel.IKernelConnection,
  carriers: Iterable<Kernel.IKernelConnection>,
  target: string,
  listener: Listener
): Wire {
  const carrier = carrierOf(kernel, carriers);
  return carrier ? new CommWire(carrier, carrier !== kernel, target, listener) : new PlainWire(kernel, target, listener);
}

/** The connection to that kernel which handles comms; null where none does. */
export function carrierOf(kernel: Kernel.IKernelConnection, carriers: Iterable<Kernel.IKernelConnection>): Kernel.IKernelConnection | null {
  return [kernel, ...carriers].find(each => each.id === kernel.id && each.handleComms && !each.isDisposed) ?? null;
}

function wantsSubshell(kernel: Kernel.IKernelConnection): boolean {
  return kernel.supportsSubshells && String(kernel.commsOverSubshells) !== 'disabled';
}

function canHear(kernel: Kernel.IKernelConnection): boolean {
  return !kernel.isDisposed && kernel.connectionStatus === 'connected' && kernel.status !== 'dead';
}

function after(ms: number): Promise<void> {
  return new Promise(resolve => window.setTimeout(resolve, ms));
}

/** Over the connection that handles comms. */
class CommWire implements Wire {
  private readonly comm: Kernel.IComm;
  private readonly started: Promise<unknown>;
  private listener: Listener | null;
  private subshell: unknown = null;
  private lost = false;
  private opening = false;
  private opened = false;

  constructor(
    private readonly kernel: Kernel.IKernelConnection,
    private readonly borrowed: boolean,
    target: string,
    listener: Listener
  ) {
    this.listener = listener;
    this.comm = kernel.createComm(target);
    this.started = Promise.resolve(this.ofComm('subshellStarted')).catch(() => undefined); // it fails where the kernel is restarted first
    this.comm.onMsg = message => this.listener?.heard(message.content.data);
    this.comm.onClose = () => this.onClosed();
    kernel.disposed.connect(this.onCarrierGone, this);
    kernel.statusChanged.connect(this.onCarrierStatus, this);
  }

  get passesCells(): boolean {
    return typeof this.ofComm('subshellId') === 'string';
  }

  get isLost(): boolean {
    return this.lost;
  }

  get isDisposed(): boolean {
    return this.listener === null;
  }

  async open(): Promise<void> {
    this.opening = true;
    const started = this.subshellStarted();
    await Promise.race([started, after(SUBSHELL_PATIENCE_MS)]);
    if (!this.comm.isDisposed && !this.isDisposed) {
      this.opened = true;
      await this.comm.open().done.catch(() => undefined);
    }
    void started.then(() => after(0)).then(() => this.onSettled());
  }

  private async subshellStarted(): Promise<void> {
    await this.kernel.info.catch(() => undefined);
    if (wantsSubshell(this.kernel)) {
      await this.started;
    }
  }

  /** What JupyterLab's class has and its interface (4.6) does not. */
  private ofComm(name: 'subshellStarted' | 'subshellId'): unknown {
    return Reflect.get(this.comm, name);
  }

  private onSettled(): void {
    this.opening = false;
    this.subshell = this.ofComm('subshellId');
    if (this.isDisposed) {
      this.hangUp();
    }
  }

  send(data: JSONObject): void {
    if (!this.comm.isDisposed && canHear(this.kernel)) {
      this.comm.send(data);
    }
  }

  clearAway(kernel: Kernel.IKernelConnection): void {
    if (typeof this.subshell === 'string' && this.kernel.isDisposed && kernel.id === this.kernel.id && canHear(kernel)) {
      kernel.requestDeleteSubshell({ subshell_id: this.subshell });
    }
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this.listener = null;
    this.kernel.disposed.disconnect(this.onCarrierGone, this);
    this.kernel.statusChanged.disconnect(this.onCarrierStatus, this);
    if (!this.opening) {
      this.hangUp();
    }
  }

  /**
   * Not before the kernel has said whether it takes the comm: its "closed" would find none, and JupyterLab reports that as an error.
   * Nor before its subshell has started: the comms of a target share one, and JupyterLab (4.6) would delete it as soon as it is there,
   * under a comm that came meanwhile and waits for the same. `after(0)`: by then that one is counted.
   */
  private hangUp(): void {
    if (!this.comm.isDisposed) {
      this.comm.onMsg = () => undefined;
      this.comm.onClose = () => undefined;
      if (this.opened && !this.isCutOff && canHear(this.kernel)) {
        this.comm.close();
      }
      this.comm.dispose();
    }
  }

  /** The notebook that carried it was closed; another one may still use the kernel. */
  private onCarrierGone(): void {
    this.lost = true;
    this.onClosed();
  }

  private onCarrierStatus(_: Kernel.IKernelConnection, status: Kernel.Status): void {
    if (this.borrowed && (status === 'restarting' || status === 'autorestarting')) {
      this.onCarrierGone(); // restarted from there, its comms end without a word
    } else if (this.opened && !this.opening && !this.comm.isDisposed && this.ofComm('subshellId') !== this.subshell) {
      this.hangUp(); // a person has set whether comms get subshells
      this.onCarrierGone();
    }
  }

  /** The subshell is gone on which it was opened: ipykernel (7.4) reads what it says nowhere else. */
  private get isCutOff(): boolean {
    return this.subshell !== null && this.ofComm('subshellId') !== this.subshell;
  }

  private onClosed(): void {
    const { listener } = this;
    this.listener = null;
    this.kernel.disposed.disconnect(this.onCarrierGone, this);
    this.kernel.statusChanged.disconnect(this.onCarrierStatus, this);
    listener?.closed();
  }
}

/** By messages alone, where no connection of the page handles comms (the notebook whose connection did was closed), or over one of its own. */
export class PlainWire implements Wire {
  readonly isLost = false;
  private readonly id = UUID.uuid4();
  private readonly known: IDisposable | null;
  private listener: Listener | null;
  private subshell: string | null = null;
  private opened = false;

  /** `carrier`: the connection that handles comms, where there is one beside it. */
  constructor(
    private readonly kernel: Kernel.IKernelConnection,
    private readonly target: string,
    listener: Listener,
    private readonly way: { readonly subshell: string; leave(): void } | null = null,
    carrier: Kernel.IKernelConnection | null = null
  ) {
    this.listener = listener;
    this.known = carrier && knownTo(carrier, target, this.id);
    kernel.iopubMessage.connect(this.onIOPubMessage, this);
  }

  get passesCells(): boolean {
    return this.subshell !== null;
  }

  get isDisposed(): boolean {
    return this.listener === null;
  }

  async open(): Promise<void> {
    await Promise.race([this.startSubshell(), after(SUBSHELL_PATIENCE_MS)]);
    if (!this.isDisposed && canHear(this.kernel)) {
      this.opened = true;
      const content = { comm_id: this.id, target_name: this.target, data: {} };
      const message = KernelMessage.createMessage<KernelMessage.ICommOpenMsg<'shell'>>({ ...this.head, msgType: 'comm_open', content });
      await this.kernel.sendShellMessage(message).done.catch(() => undefined);
    }
  }

  private async startSubshell(): Promise<void> {
    if (this.way) {
      this.subshell = this.way.subshell;
      return;
    }
    await this.kernel.info.catch(() => undefined);
    if (!this.isDisposed && wantsSubshell(this.kernel)) {
      const reply = await this.kernel.requestCreateSubshell({}).done.catch(() => null);
      this.subshell = reply?.content.subshell_id ?? null;
      if (this.isDisposed) {
        this.endSubshell(); // it came too late
      }
    }
  }

  private endSubshell(): void {
    if (this.way) {
      this.way.leave();
    } else if (this.subshell !== null && canHear(this.kernel)) {
      this.kernel.requestDeleteSubshell({ subshell_id: this.subshell });
    }
    this.subshell = null;
  }

  send(data: JSONObject): void {
    if (!this.isDisposed && canHear(this.kernel)) {
      const content = { comm_id: this.id, data };
      this.kernel.sendShellMessage(
        KernelMessage.createMessage<KernelMessage.ICommMsgMsg<'shell'>>({ ...this.head, msgType: 'comm_msg', content })
      );
    }
  }

  clearAway(): void {
    // Its connection is that of the notebook that is followed.
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this.listener = null;
    this.known?.dispose();
    this.kernel.iopubMessage.disconnect(this.onIOPubMessage, this);
    if (this.opened && canHear(this.kernel)) {
      const content = { comm_id: this.id, data: {} };
      this.kernel.sendShellMessage(
        KernelMessage.createMessage<KernelMessage.ICommCloseMsg<'shell'>>({ ...this.head, msgType: 'comm_close', content })
      );
    }
    this.endSubshell();
  }

  private get head(): { channel: 'shell'; username: string; session: string; subshellId: string | null } {
    const { kernel, subshell } = this;
    return { channel: 'shell', username: kernel.username, session: kernel.clientId, subshellId: subshell };
  }

  private onIOPubMessage(_: Kernel.IKernelConnection, message: KernelMessage.IIOPubMessage): void {
    const { listener } = this;
    if (KernelMessage.isCommMsgMsg(message) && message.content.comm_id === this.id) {
      listener?.heard(message.content.data);
    } else if (KernelMessage.isCommCloseMsg(message) && message.content.comm_id === this.id) {
      this.listener = null;
      this.kernel.iopubMessage.disconnect(this.onIOPubMessage, this);
      this.endSubshell();
      listener?.closed();
    }
  }
}

/** Every connection hears of every comm, and JupyterLab reports it as an error when one is closed that it has not made. */
function knownTo(carrier: Kernel.IKernelConnection, target: string, id: string): IDisposable {
  const comm = carrier.createComm(`${target}.beside`, id); // which is never opened; under the same name it would count as a user of the target's subshell
  Reflect.set(comm, 'commsOverSubshells', 'disabled'); // it needs none of its own; JupyterLab's class (4.6) asks for one after this
  return comm;
}
