/** The side panel. Strings of the kernel become text nodes only; React sets them as text. */

import { LabIcon, ReactWidget } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Widget } from '@lumino/widgets';
import React from 'react';

import { type Action, isGone } from '../commands/actions';
import { isWanted } from '../commands/asking';
import { openMenu } from '../commands/menus';
import { notify } from '../commands/notices';
import { timeOfDay, wholeSeconds } from '../format';
import type { KernelLink } from '../kernel/connection';
import type { LinkState } from '../kernel/linkState';
import type { Snapshot } from '../kernel/model';
import { whyNot } from '../kernel/requests';
import type { SettingsModel } from '../settings/settingsModel';
import type { IGleitzeit } from '../tokens';
import { arrangementOf } from './arrangement';
import { MenuButton } from './ButtonsView';
import { EmptyView } from './EmptyView';
import { isStale } from './freshness';
import { LiveView } from './LiveView';
import { Notices, words } from './NoticesView';
import { type Order, Orders } from './orders';
import { type Arrangement, type PanelTools, Pending, Sections, Tools, Wide } from './PanelContext';
import { kept } from './sharing';
import type { NextSteps } from './steps';
import { letWidthBeDragged } from './width';

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
  private arrangement: Arrangement | null = null;
  private focused: Element | null = null;
  private readonly orders: Orders;
  private readonly tools: PanelTools;

  private readonly link: KernelLink;
  private readonly trans: TranslationBundle;
  private readonly settings: SettingsModel;

  constructor({ link, settings, trans }: Pick<IGleitzeit, 'link' | 'settings' | 'trans'>, steps: NextSteps) {
    super();
    this.link = link;
    this.trans = trans;
    this.settings = settings;
    this.id = 'gleitzeit-nb-panel';
    this.title.icon = gleitzeitIcon;
    this.title.caption = trans.__('Gleitzeit: instances and sandboxes');
    this.addClass('gz-Panel');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', 'Gleitzeit');
    letWidthBeDragged(this);
    this.node.tabIndex = -1; // gets the focus when what had it is gone
    this.node.addEventListener('focusin', ({ target }) => (this.focused = target instanceof Element ? target : null));
    this.tools = { trans, steps, openMenu, act: action => void this.act(action) };
    this.orders = new Orders(
      (command, tell) => link.request(command, tell),
      (error, { label }) => whyNot(error, trans, label),
      Date.now,
      order => this.onOrder(order)
    );
    link.changed.connect(this.refresh, this);
    settings.changed.connect(this.refresh, this);
  }

  /** The notebook whose kernel is shown. */
  setWhere(name: string): void {
    this.where = name;
    this.refresh();
  }

  override dispose(): void {
    window.clearInterval(this.timer);
    this.link.changed.disconnect(this.refresh, this);
    this.settings.changed.disconnect(this.refresh, this);
    super.dispose();
  }

  protected override onAfterShow(): void {
    this.link.setWanted(true);
    window.clearInterval(this.timer); // a panel that is moved to the other side is detached, and not told that it is hidden
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
    const { link, settings, trans } = this;
    const { state } = link;
    const age = state.kind === 'live' ? (Date.now() - state.receivedAt) / 1000 : 0;
    this.shown = state.kind === 'live' ? kept(this.shown, state.snapshot) : null;
    this.arrangement = arrangementOf(settings, this.arrangement);
    const stale = this.shown !== null && isStale(this.shown, age, link.isConnected, link.refreshInterval);
    return (
      <Tools.Provider value={this.tools}>
        <div className="gz-Header">
          <h2>Gleitzeit</h2>
          <span className="gz-where" title={this.where}>
            {this.where}
          </span>
          <KernelPill state={state} isUnknown={link.isUnknown} busySince={link.busySince} trans={trans} />
          {this.shown && <MenuButton label={trans.__('Actions for the pool')} entries={this.tools.steps.poolMenu} />}
        </div>
        <div className={stale ? 'gz-Body gz-mod-stale' : 'gz-Body'}>
          {this.shown ? (
            <Pending.Provider value={this.orders.pending}>
              <Wide.Provider value={this.wide}>
                <Sections.Provider value={this.arrangement}>
                  <LiveView snapshot={this.shown} age={stale ? 0 : age} withSecurity={settings.values.showSecurityEvents} />
                </Sections.Provider>
              </Wide.Provider>
            </Pending.Provider>
          ) : (
            state.kind !== 'live' && <EmptyView state={state} asks={link.autoAttach} busy={link.busySince !== null} unknown={link.isUnknown} />
          )}
        </div>
        <Notices
          orders={this.orders.shown}
          mustWait={link.mustWait}
          warning={stale ? this.staleness(age) : ''}
          trans={trans}
          onDismiss={this.dismiss}
        />
        <AfterDrawing then={this.keepFocus} />
      </Tools.Provider>
    );
  }

  private staleness(age: number): string {
    const { link, shown, trans } = this;
    const at = timeOfDay(shown?.at ?? 0);
    return link.isConnected
      ? trans.__('No word from the kernel for %1. Shown is what was true at %2.', wholeSeconds(age), at)
      : trans.__('The line to the kernel is cut. Shown is what was true at %1.', at);
  }

  private refresh(): void {
    if (this.isVisible) {
      this.orders.prune();
      this.update();
    }
  }

  /** Asks first where it destroys something. */
  private async act(action: Action): Promise<void> {
    const { question } = action;
    if (question && this.settings.values.confirmDestructive) {
      if (!(await isWanted(question))) {
        return;
      }
      const { state } = this.link;
      if (state.kind === 'live' && isGone(action.command, state.snapshot)) {
        this.orders.note(action, question.gone);
        return;
      }
    }
    this.orders.give(action);
  }

  private onOrder(order: Order | null): void {
    if (this.isVisible) {
      this.update();
    } else if (order?.outcome === 'failed') {
      notify('error', words(order, this.trans), this.trans);
    }
  }

  private readonly dismiss = (id: number): void => this.orders.dismiss(id);

  /** A row that ends takes its buttons with it: the keyboard goes on from the panel, not from the top of the page. */
  private readonly keepFocus = (): void => {
    const { focused } = this;
    if (focused && !focused.isConnected) {
      this.focused = null;
      if (document.activeElement === document.body) {
        this.node.focus({ preventScroll: true });
      }
    }
  };
}

/** Draws nothing. */
function AfterDrawing({ then }: { readonly then: () => void }): null {
  React.useLayoutEffect(then);
  return null;
}

interface PillProps {
  readonly state: LinkState;
  readonly isUnknown: boolean;
  readonly busySince: number | null;
  readonly trans: TranslationBundle;
}

function KernelPill({ state, isUnknown, busySince, trans }: PillProps): React.JSX.Element | null {
  if (state.kind === 'no-notebook' || state.kind === 'no-kernel' || isUnknown) {
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
