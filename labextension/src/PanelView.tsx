/** The side panel. Strings of the kernel become text nodes only; React sets them as text. */

import { Notification } from '@jupyterlab/apputils';
import { LabIcon, ReactWidget } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { Menu } from '@lumino/widgets';
import React from 'react';

import type { KernelLink, LinkState } from './connection';
import { wholeSeconds } from './format';
import type { InstanceView } from './model';
import { whyNot } from './requests';
import { LiveView } from './TablesView';

const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" width="16">
  <g class="jp-icon3" fill="#616161"><path d="M3 5h11v3H3zM3 10.5h18v3H3zM3 16h7v3H3z"/><circle cx="18" cy="6.5" r="2.2"/><circle cx="14" cy="17.5" r="2.2"/></g>
</svg>`;

export const gleitzeitIcon = new LabIcon({ name: 'gleitzeit-nb:panel', svgstr: ICON });

type Live = Extract<LinkState, { kind: 'live' }>;

export class GleitzeitPanel extends ReactWidget {
  private timer = 0;
  private where = '';

  constructor(
    private readonly link: KernelLink,
    private readonly trans: TranslationBundle
  ) {
    super();
    this.id = 'gleitzeit-nb-panel';
    this.title.icon = gleitzeitIcon;
    this.title.caption = trans.__('Gleitzeit: instances and sandboxes');
    this.addClass('gz-Panel');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', 'Gleitzeit');
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

  protected override render(): React.JSX.Element {
    const { link, trans } = this;
    const { state } = link;
    return (
      <>
        <header className="gz-Header">
          <h2>Gleitzeit</h2>
          <span className="gz-where" title={this.where}>
            {this.where}
          </span>
          <KernelPill state={state} busySince={link.busySince} trans={trans} />
        </header>
        {state.kind === 'live' ? (
          <LiveView snapshot={state.snapshot} age={(Date.now() - state.receivedAt) / 1000} trans={trans} onMenu={this.openMenu} />
        ) : (
          <EmptyView state={state} trans={trans} onLoad={() => void link.load()} />
        )}
      </>
    );
  }

  private refresh(): void {
    if (this.isVisible) {
      this.update();
    }
  }

  private readonly openMenu = (instance: InstanceView, anchor: HTMLElement): void => {
    const { link, trans } = this;
    const commands = new CommandRegistry();
    const verb = instance.draining ? 'resume' : 'drain';
    commands.addCommand(verb, {
      label: instance.draining ? trans.__('Resume %1', instance.id) : trans.__('Drain %1', instance.id),
      caption: instance.draining ? trans.__('Give it requests again') : trans.__('Finish what it has, give it nothing new'),
      describedBy: { args: null },
      execute: () =>
        link.request({ type: verb, instance: instance.id }).catch(error => {
          Notification.error(whyNot(error, trans), { autoClose: 8000 });
        })
    });
    commands.addCommand('copy-url', {
      label: trans.__('Copy its address'),
      describedBy: { args: null },
      execute: () => navigator.clipboard.writeText(instance.url)
    });
    const menu = new Menu({ commands });
    menu.addItem({ command: verb });
    menu.addItem({ command: 'copy-url' });
    menu.aboutToClose.connect(() => {
      anchor.focus();
      window.setTimeout(() => menu.dispose(), 0); // the chosen command still has to run
    });
    const box = anchor.getBoundingClientRect();
    menu.open(box.left, box.bottom);
  };
}

interface Translated {
  readonly trans: TranslationBundle;
}

function KernelPill(props: Translated & { state: LinkState; busySince: number | null }): React.JSX.Element | null {
  const { state, busySince, trans } = props;
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

function EmptyView(props: Translated & { state: Exclude<LinkState, Live>; onLoad: () => void }): React.JSX.Element {
  const { state, trans, onLoad } = props;
  const [title, explanation] = emptyText(state, trans);
  return (
    <>
      <div className="gz-Empty" role="status">
        <b>{title}</b>
        <p>{explanation}</p>
        {state.kind === 'not-loaded' && (
          <button className="gz-button gz-mod-primary" onClick={onLoad}>
            {trans.__('Load gleitzeit_nb')}
          </button>
        )}
      </div>
      {state.kind === 'not-loaded' && (
        <div className="gz-Hint">
          {trans.__('Runs this line in the notebook’s kernel:')} <code>%load_ext gleitzeit_nb</code>
        </div>
      )}
    </>
  );
}

function emptyText(state: Exclude<LinkState, Live>, trans: TranslationBundle): [string, string] {
  switch (state.kind) {
    case 'no-notebook':
      return [trans.__('No notebook'), trans.__('Open a notebook to see its instances and sandboxes here.')];
    case 'no-kernel':
      return [trans.__('No kernel'), trans.__('Start a kernel for this notebook to see its instances and sandboxes here.')];
    case 'not-loaded':
      return [
        trans.__('Not loaded in this kernel'),
        state.failure || trans.__('Load the extension to see its instances and sandboxes here.')
      ];
    case 'unasked':
    case 'connecting':
      return [trans.__('Asking the kernel'), trans.__('Waiting for its first answer.')];
    case 'restarting':
      return [trans.__('Kernel restarting'), trans.__('What was shown belonged to the old one.')];
    case 'dead':
      return [trans.__('Kernel dead'), trans.__('Restart it, then load the extension again.')];
    case 'incompatible':
      return [trans.__('The kernel speaks another version'), state.reason];
  }
}
