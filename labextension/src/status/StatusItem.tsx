/** The item in the status bar: one line, while a kernel answers or has something to say of why it does not. */

import { ReactWidget } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import { type ISignal, Signal } from '@lumino/signaling';
import React from 'react';

import type { KernelLink } from '../kernel/connection';
import type { SettingsModel } from '../settings/settingsModel';
import { statusDetail, statusLine } from './statusText';

export class StatusItem extends ReactWidget {
  private readonly shown = new Signal<this, void>(this);
  private drawn = '';

  constructor(
    private readonly link: KernelLink,
    private readonly settings: SettingsModel,
    private readonly trans: TranslationBundle,
    private readonly where: () => string,
    private readonly onClick: () => void
  ) {
    super();
    this.addClass('gz-StatusBox');
    link.changed.connect(this.refresh, this);
    settings.changed.connect(this.refresh, this);
  }

  get isShown(): boolean {
    return this.settings.values.statusBar && statusLine(this.link, this.trans) !== '';
  }

  get shownChanged(): ISignal<this, void> {
    return this.shown;
  }

  override dispose(): void {
    this.link.changed.disconnect(this.refresh, this);
    this.settings.changed.disconnect(this.refresh, this);
    super.dispose();
  }

  protected override render(): React.JSX.Element | null {
    const { link, trans } = this;
    const text = statusLine(link, trans);
    if (!text) {
      return null;
    }
    return (
      <button className="gz-StatusItem" title={statusDetail(link, this.where(), trans)} onClick={this.onClick}>
        {text}
      </button>
    );
  }

  /** Most snapshots change nothing of what stands here. */
  private refresh(): void {
    const now = this.isShown ? statusLine(this.link, this.trans) + statusDetail(this.link, this.where(), this.trans) : '';
    if (now !== this.drawn) {
      this.drawn = now;
      this.shown.emit();
      this.update();
    }
  }
}
