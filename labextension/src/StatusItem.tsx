/** The item in the status bar: one line, while a kernel answers. */

import { ReactWidget } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import { type ISignal, Signal } from '@lumino/signaling';
import React from 'react';

import type { KernelLink } from './connection';
import { upCount } from './format';

export class StatusItem extends ReactWidget {
  private readonly shown = new Signal<this, void>(this);

  constructor(
    private readonly link: KernelLink,
    private readonly trans: TranslationBundle,
    private readonly onClick: () => void
  ) {
    super();
    link.changed.connect(this.refresh, this);
  }

  get shownChanged(): ISignal<this, void> {
    return this.shown;
  }

  override dispose(): void {
    this.link.changed.disconnect(this.refresh, this);
    super.dispose();
  }

  protected override render(): React.JSX.Element | null {
    const { trans } = this;
    const { state } = this.link;
    if (state.kind !== 'live') {
      return null;
    }
    const { snapshot } = state;
    const queued = snapshot.queue_depth > 0 ? `, ${trans.__('%1 queued', snapshot.queue_depth)}` : '';
    return (
      <button className="gz-StatusItem" title={trans.__('Show the Gleitzeit panel')} onClick={this.onClick}>
        <span>{`Ollama ${upCount(snapshot)}/${snapshot.instances.length}`}</span>
        <span>{trans.__('%1 in flight', snapshot.in_flight) + queued}</span>
        <span>{trans.__('Sandbox %1 warm', snapshot.containers)}</span>
      </button>
    );
  }

  private refresh(): void {
    this.shown.emit();
    this.update();
  }
}
