/** Which notebook or console is the one that a person works in. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { ISessionContext } from '@jupyterlab/apputils';
import type { ConsolePanel, IConsoleTracker } from '@jupyterlab/console';
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import type { Kernel } from '@jupyterlab/services';
import { type ISignal, Signal } from '@lumino/signaling';
import type { Title, Widget } from '@lumino/widgets';

import { SPEAKS_OF_US } from './connection';

export type Place =
  | { readonly kind: 'notebook'; readonly widget: NotebookPanel; readonly context: ISessionContext }
  | { readonly kind: 'console'; readonly widget: ConsolePanel; readonly context: ISessionContext };

/** Whether a cell of it names this package or its magics: then its kernel may have it loaded, also before one of them runs. */
export function speaksOfUs(place: Place): boolean {
  const cells = place.kind === 'notebook' ? place.widget.content.model?.cells : place.widget.console.cells;
  for (const cell of cells ?? []) {
    const model = 'model' in cell ? cell.model : cell;
    if (model.type === 'code' && SPEAKS_OF_US.test(model.sharedModel.source)) {
      return true;
    }
  }
  return false;
}

/** The notebook or console that was last worked in and is still open: another tab, a text file say, does not change it. */
export class Following {
  private place: Place | null = null;
  private readonly signal = new Signal<this, Place | null>(this);

  constructor(
    private readonly shell: JupyterFrontEnd.IShell,
    private readonly notebooks: INotebookTracker,
    private readonly consoles: IConsoleTracker | null
  ) {
    notebooks.currentChanged.connect(this.look, this);
    consoles?.currentChanged.connect(this.look, this);
    shell.currentChanged?.connect(this.look, this);
    this.look();
  }

  get current(): Place | null {
    return this.place;
  }

  /** Emitted for another place, and for another name of it. */
  get changed(): ISignal<this, Place | null> {
    return this.signal;
  }

  /** The name that its tab shows; "" for none. */
  get label(): string {
    return this.place?.widget.title.label ?? '';
  }

  /** The page's connections to kernels. */
  *connections(): IterableIterator<Kernel.IKernelConnection> {
    const contexts: ISessionContext[] = [];
    this.notebooks.forEach(({ sessionContext }) => contexts.push(sessionContext));
    this.consoles?.forEach(({ sessionContext }) => contexts.push(sessionContext));
    for (const context of contexts) {
      if (context.session?.kernel) {
        yield context.session.kernel;
      }
    }
  }

  private look(): void {
    const last = this.place;
    const next =
      this.placeOf(this.shell.currentWidget) ??
      (last && !last.widget.isDisposed ? last : null) ??
      this.placeOf(this.notebooks.currentWidget) ??
      this.placeOf(this.consoles?.currentWidget ?? null);
    if (next?.widget === last?.widget) {
      return;
    }
    if (last) {
      last.widget.title.changed.disconnect(this.onTitle, this);
      last.widget.disposed.disconnect(this.look, this);
    }
    this.place = next;
    if (next) {
      next.widget.title.changed.connect(this.onTitle, this);
      next.widget.disposed.connect(this.look, this);
    }
    this.signal.emit(next);
  }

  private placeOf(widget: Widget | null): Place | null {
    if (!widget || widget.isDisposed) {
      return null;
    }
    const notebook = this.notebooks.find(each => each === widget);
    if (notebook) {
      return { kind: 'notebook', widget: notebook, context: notebook.sessionContext };
    }
    const console = this.consoles?.find(each => each === widget);
    return console ? { kind: 'console', widget: console, context: console.sessionContext } : null;
  }

  private onTitle(_: Title<Widget>): void {
    this.signal.emit(this.place);
  }
}
