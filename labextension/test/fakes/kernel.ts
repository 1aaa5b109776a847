/** A kernel, its session and the wires to it, as a page has them. */

import type { ISessionContext } from '@jupyterlab/apputils';
import type { Kernel, KernelMessage } from '@jupyterlab/services';
import { Signal } from '@lumino/signaling';

import type { Listener, Wire } from '../../src/kernel/wire';

export class FakeWire implements Wire {
  passesCells = true;
  isLost = false;
  isDisposed = false;
  readonly sent: unknown[] = [];
  readonly clearedOver: string[] = [];
  opened: (error?: Error) => void = () => undefined;

  constructor(readonly listener: Listener) {}

  open(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.opened = error => (error ? reject(error) : resolve());
    });
  }

  send(data: unknown): void {
    this.sent.push(data);
  }

  clearAway(kernel: Kernel.IKernelConnection): void {
    this.clearedOver.push(kernel.id);
  }

  dispose(): void {
    this.isDisposed = true;
  }
}

export class FakeContext {
  readonly kernel = {
    id: 'k1',
    status: 'idle' as Kernel.Status,
    connectionStatus: 'connected' as Kernel.ConnectionStatus,
    isDisposed: false,
    executed: [] as string[],
    requestExecute({ code }: { readonly code: string }) {
      this.executed.push(code);
      return { done: Promise.resolve() };
    }
  };
  session: { kernel: FakeContext['kernel'] } | null = { kernel: this.kernel };
  isTerminating = false;
  readonly kernelChanged = new Signal<this, void>(this);
  readonly statusChanged = new Signal<this, Kernel.Status>(this);
  readonly connectionStatusChanged = new Signal<this, Kernel.ConnectionStatus>(this);
  readonly iopubMessage = new Signal<this, KernelMessage.IMessage>(this);
  readonly disposed = new Signal<this, void>(this);

  get asContext(): ISessionContext {
    return this as unknown as ISessionContext;
  }

  become(status: Kernel.Status): void {
    this.kernel.status = status;
    this.statusChanged.emit(status);
  }

  reach(status: Kernel.ConnectionStatus): void {
    this.kernel.connectionStatus = status;
    this.connectionStatusChanged.emit(status);
  }

  /** A cell begins or ends: the kernel's word of that, and of the code. */
  cell(state: 'busy' | 'idle', code = ''): void {
    this.say('status', { execution_state: state });
    if (state === 'busy') {
      this.say('execute_input', { code });
    }
  }

  say(type: string, content: object): void {
    const message = { header: { msg_type: type }, parent_header: { msg_type: 'execute_request' }, content };
    this.iopubMessage.emit(message as unknown as KernelMessage.IMessage);
  }
}
