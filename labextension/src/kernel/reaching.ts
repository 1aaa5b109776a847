/**
 * A line to a kernel, whatever it does. After a reload of the page JupyterLab asks a kernel anew what it can, on the channel of the cells:
 * while one of them runs there is no answer, and no comm gets a subshell. Then one is asked for on the control channel, and the line goes
 * over it by a connection of its own.
 */

import { type Kernel, KernelMessage } from '@jupyterlab/services';
import type { JSONObject } from '@lumino/coreutils';

import { carrierOf, type Listener, PlainWire, type Wire, wireTo } from './wire';

const ANSWER_MS = 700;

/** As `wireTo`; which way it goes is decided when it is opened. */
export function reach(kernel: Kernel.IKernelConnection, carriers: Iterable<Kernel.IKernelConnection>, target: string, listener: Listener): Wire {
  return new Reaching(kernel, [...carriers], target, listener);
}

class Reaching implements Wire {
  private inner: Wire | null = null;
  private disposed = false;

  constructor(
    private readonly kernel: Kernel.IKernelConnection,
    private readonly carriers: readonly Kernel.IKernelConnection[],
    private readonly target: string,
    private readonly listener: Listener
  ) {}

  get passesCells(): boolean {
    return this.inner?.passesCells ?? false;
  }

  get isLost(): boolean {
    return this.inner?.isLost ?? false;
  }

  get isDisposed(): boolean {
    return this.disposed;
  }

  async open(): Promise<void> {
    const way = (await isBusy(this.kernel)) ? await besideCells(this.kernel) : null;
    if (this.disposed || this.kernel.isDisposed) {
      way?.leave();
      return;
    }
    this.inner = way
      ? new PlainWire(way.connection, this.target, this.listener, way, carrierOf(this.kernel, this.carriers))
      : wireTo(this.kernel, this.carriers, this.target, this.listener);
    await this.inner.open();
  }

  send(data: JSONObject): void {
    this.inner?.send(data);
  }

  clearAway(kernel: Kernel.IKernelConnection): void {
    this.inner?.clearAway(kernel);
  }

  dispose(): void {
    this.disposed = true;
    this.inner?.dispose();
  }
}

/** A subshell, and the connection that is for it alone. */
export interface Way {
  readonly connection: Kernel.IKernelConnection;
  readonly subshell: string;
  leave(): void;
}

/** Whether it takes its time with saying what it is. */
async function isBusy(kernel: Kernel.IKernelConnection): Promise<boolean> {
  return String(kernel.commsOverSubshells) !== 'disabled' && (await Promise.race([settled(kernel.info), after(ANSWER_MS)])) === 'late';
}

/** Null when the kernel has come free before it gave a subshell; one that comes later is given back. */
async function besideCells(kernel: Kernel.IKernelConnection): Promise<Way | null> {
  const connection = kernel.clone({ handleComms: false });
  const coming = connected(connection).then(() => createSubshell(connection));
  const leave = (subshell: string | null): void => {
    if (subshell === null || connection.connectionStatus !== 'connected') {
      connection.dispose();
    } else {
      void deleteSubshell(connection, subshell).then(() => connection.dispose()); // with a connection goes what it has not delivered
    }
  };
  const subshell = await Promise.race([coming, settled(kernel.info).then(() => null)]);
  if (subshell !== null) {
    return { connection, subshell, leave: () => leave(subshell) };
  }
  if (kernel.supportsSubshells) {
    void coming.then(leave);
  } else {
    leave(null);
  }
  return null;
}

function settled(info: Promise<unknown>): Promise<string> {
  return info.then(
    () => 'settled',
    () => 'settled'
  );
}

function after(ms: number): Promise<string> {
  return new Promise(resolve => window.setTimeout(() => resolve('late'), ms));
}

function connected(kernel: Kernel.IKernelConnection): Promise<void> {
  return new Promise(resolve => {
    const look = (): void => {
      if (kernel.connectionStatus === 'connected') {
        kernel.connectionStatusChanged.disconnect(look);
        resolve();
      }
    };
    kernel.connectionStatusChanged.connect(look);
    look();
  });
}

/** JupyterLab's own request for it refuses as long as it has not heard that the kernel has subshells. One that has none says nothing. */
async function createSubshell(kernel: Kernel.IKernelConnection): Promise<string | null> {
  const { clientId: session, username } = kernel;
  const request = KernelMessage.createMessage<KernelMessage.ICreateSubshellRequestMsg>({
    msgType: 'create_subshell_request',
    channel: 'control',
    username,
    session,
    content: {}
  });
  const reply = await kernel.sendControlMessage(request, true).done.catch(() => null);
  const name: unknown = reply && Reflect.get(reply.content, 'subshell_id');
  return typeof name === 'string' ? name : null;
}

async function deleteSubshell(kernel: Kernel.IKernelConnection, subshell: string): Promise<void> {
  const { clientId: session, username } = kernel;
  const request = KernelMessage.createMessage<KernelMessage.IDeleteSubshellRequestMsg>({
    msgType: 'delete_subshell_request',
    channel: 'control',
    username,
    session,
    content: { subshell_id: subshell }
  });
  await kernel.sendControlMessage(request, true).done.catch(() => undefined);
}
