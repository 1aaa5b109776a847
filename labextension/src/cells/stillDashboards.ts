/**
 * Shows the still picture of a saved dashboard whose widgets ended with their kernel. JupyterLab prefers the widget, of which only a line
 * of error is left, to the picture that was saved beside it. The notebook itself is not changed.
 */

import type { CodeCell } from '@jupyterlab/cells';
import type { NotebookPanel } from '@jupyterlab/notebook';
import type { Kernel } from '@jupyterlab/services';
import { Panel } from '@lumino/widgets';

import { type SavedDashboard, savedDashboard } from './marks';

const WIDGETS = 'jupyter.widget';

interface Saved extends SavedDashboard {
  readonly cell: CodeCell;
  readonly place: Panel;
}

export class StillDashboards {
  private readonly replaced = new WeakSet<Panel>();

  constructor(private readonly panel: NotebookPanel) {
    const { sessionContext } = panel;
    sessionContext.kernelChanged.connect(this.onKernel, this);
    panel.disposed.connect(() => sessionContext.kernelChanged.disconnect(this.onKernel, this));
    void Promise.all([panel.revealed, sessionContext.ready]).then(() => this.look());
  }

  private onKernel(): void {
    void this.look();
  }

  private async look(): Promise<void> {
    const kernel = this.panel.isDisposed ? null : this.panel.sessionContext.session?.kernel;
    if (!kernel || !this.saved().length) {
      return;
    }
    const known = await widgetsOf(kernel);
    if (known && !this.panel.isDisposed) {
      this.saved()
        .filter(({ widget }) => !known.has(widget))
        .forEach(each => this.show(each));
    }
  }

  private saved(): Saved[] {
    return this.panel.content.widgets.flatMap(cell => {
      if (cell.model.type !== 'code') {
        return [];
      }
      const { outputArea } = cell as CodeCell;
      return outputArea.widgets.slice(0, outputArea.model.length).flatMap((place, index) => {
        const found = savedDashboard(outputArea.model.get(index).data);
        return found && place instanceof Panel && !this.replaced.has(place) ? [{ ...found, cell: cell as CodeCell, place }] : [];
      });
    });
  }

  private show({ cell, place, html }: Saved): void {
    const { rendermime } = this.panel.content;
    const picture = rendermime.createRenderer('text/html');
    picture.addClass('gz-StillDashboard');
    this.replaced.add(place);
    place.addClass('gz-mod-superseded');
    place.addWidget(picture);
    void picture.renderModel(rendermime.createModel({ data: { 'text/html': html }, trusted: cell.model.trusted }));
  }
}

/** The ids of all that the kernel has; null where it did not say. */
async function widgetsOf(kernel: Kernel.IKernelConnection): Promise<ReadonlySet<string> | null> {
  const reply = await kernel.requestCommInfo({ target_name: WIDGETS }).catch(() => null);
  return reply?.content.status === 'ok' ? new Set(Object.keys(reply.content.comms)) : null;
}
