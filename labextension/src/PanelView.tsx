/** The side panel. Strings of the kernel become text nodes only; React sets them as text. */

import { Notification } from '@jupyterlab/apputils';
import { LabIcon, ReactWidget } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Widget } from '@lumino/widgets';
import React from 'react';

import type { Action } from './actions';
import type { KernelLink, LinkState } from './connection';
import { EmptyView } from './EmptyView';
import { wholeSeconds } from './format';
import { LiveView } from './LiveView';
import { openMenu } from './menus';
import type { Snapshot } from './model';
import { type PanelTools, Tools, Wide } from './PanelContext';
import { whyNot } from './requests';
import { kept } from './sharing';
import type { NextSteps } from './steps';

const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" width="16">
  <g class="jp-icon3" fill="#616161"><path d="M3 5h11v3H3zM3 10.5h18v3H3zM3 16h7v3H3z"/><circle cx="18" cy="6.5" r="2.2"/><circle cx="14" cy="17.5" r="2.2"/></g>
</svg>`;

export const gleitzeitIcon = new LabIcon({ name: 'gleitzeit-nb:panel', svgstr: ICON });

const WIDE_PX = 420; // from here on, a row has place for a line of the last minute

export class GleitzeitPanel extends ReactWidget {
  private timer = 0;
  private where = '';
  private wide = false;
  private shown: Snapshot | null = null;
  private readonly tools: PanelTools;

  constructor(
    private readonly link: KernelLink,
    private readonly trans: TranslationBundle,
    steps: NextSteps
  ) {
    super();
    this.id = 'gleitzeit-nb-panel';
    this.title.icon = gleitzeitIcon;
    this.title.caption = trans.__('Gleitzeit: instances and sandboxes');
    this.addClass('gz-Panel');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', 'Gleitzeit');
    this.tools = { trans, steps, openMenu, act: action => this.act(action) };
    link.changed.connect(this.refresh, this);
  }

  /** The notebook whose kernel is shown. */
  setWhere(name: string): void {
    this.where = name;
    this.refresh();
  }

  override dispose(): void {
    window.clearInterval(this.timer);
    this.link.changed.disconnect(this.refresh, this);
    super.dispose();
  }

  protected override onAfterShow(): void {
    this.link.setWanted(true);
    this.timer = window.setInterval(() => this.refresh(), 1000); // waiting times count down between two snapshots
    this.refresh();
  }

  protected override onAfterHide(): void {
    this.link.setWanted(false);
    window.clearInterval(this.timer);
  }

  protected override onResize(message: Widget.ResizeMessage): void {
    const width = message.width < 0 ? this.node.clientWidth : message.width;
    const wide = width >= WIDE_PX;
    if (wide !== this.wide) {
      this.wide = wide;
      this.refresh();
    }
    super.onResize(message);
  }

  protected override render(): React.JSX.Element {
    const { link, trans } = this;
    const { state } = link;
    this.shown = state.kind === 'live' ? kept(this.shown, state.snapshot) : null;
    return (
      <Tools.Provider value={this.tools}>
        <div className="gz-Header">
          <h2>Gleitzeit</h2>
          <span className="gz-where" title={this.where}>
            {this.where}
          </span>
          <KernelPill state={state} busySince={link.busySince} trans={trans} />
        </div>
        <div className="gz-Body">
          {state.kind === 'live' && this.shown ? (
            <Wide.Provider value={this.wide}>
              <LiveView snapshot={this.shown} age={(Date.now() - state.receivedAt) / 1000} />
            </Wide.Provider>
          ) : (
            state.kind !== 'live' && <EmptyView state={state} />
          )}
        </div>
      </Tools.Provider>
    );
  }

  private refresh(): void {
    if (this.isVisible) {
      this.update();
    }
  }

  private act({ command }: Action): void {
    this.link.request(command).catch(error => Notification.error(whyNot(error, this.trans), { autoClose: 8000 }));
  }
}

interface PillProps {
  readonly state: LinkState;
  readonly busySince: number | null;
  readonly trans: TranslationBundle;
}

function KernelPill({ state, busySince, trans }: PillProps): React.JSX.Element | null {
  if (state.kind === 'no-notebook' || state.kind === 'no-kernel') {
    return null;
  }
  if (state.kind === 'restarting' || state.kind === 'dead') {
    return <span className="gz-pill">{state.kind === 'dead' ? trans.__('kernel dead') : trans.__('kernel restarting')}</span>;
  }
  if (busySince === null) {
    return <span className="gz-pill">{trans.__('idle')}</span>;
  }
  return <span className="gz-pill gz-mod-busy">{trans.__('kernel busy %1', wholeSeconds((Date.now() - busySince) / 1000))}</span>;
}
