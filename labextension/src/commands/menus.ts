/** The menu of a row or an answer: JupyterLab's own kind, so that keys, theme and screen readers work as everywhere. */

import { CommandRegistry } from '@lumino/commands';
import { Menu } from '@lumino/widgets';

export interface MenuCommand {
  readonly label: string;
  readonly caption: string;
  /** null: the line only says something. */
  readonly run: (() => void) | null;
}

export interface Submenu {
  readonly label: string;
  readonly entries: readonly MenuCommand[];
}

export type MenuEntry = MenuCommand | Submenu | 'separator';

/** Opens it below `anchor`, which gets the focus back. `byKeyboard`: at its first item, as after a press of the down arrow. */
export function openMenu(entries: readonly MenuEntry[], anchor: HTMLElement, byKeyboard: boolean): void {
  const commands = new CommandRegistry();
  const menu = filled(newMenu(commands), commands, entries);
  anchor.setAttribute('aria-expanded', 'true');
  menu.aboutToClose.connect(() => {
    anchor.removeAttribute('aria-expanded');
    anchor.focus();
    window.setTimeout(() => dispose(menu), 0); // the chosen command still has to run
  });
  const box = anchor.getBoundingClientRect();
  menu.open(box.left, box.bottom);
  if (byKeyboard) {
    menu.activateNextItem();
  }
}

function newMenu(commands: CommandRegistry): Menu {
  const menu = new Menu({ commands });
  menu.addClass('gz-Menu');
  return menu;
}

function filled(menu: Menu, commands: CommandRegistry, entries: readonly MenuEntry[]): Menu {
  for (const entry of entries) {
    if (entry === 'separator') {
      menu.addItem({ type: 'separator' });
    } else if ('entries' in entry) {
      const submenu = filled(newMenu(commands), commands, entry.entries);
      submenu.title.label = entry.label;
      menu.addItem({ type: 'submenu', submenu });
    } else {
      const command = `gleitzeit-row:${commands.listCommands().length}`;
      const { label, caption, run } = entry;
      commands.addCommand(command, { label, caption, describedBy: { args: null }, isEnabled: () => run !== null, execute: () => run?.() });
      menu.addItem({ command });
    }
  }
  return menu;
}

function dispose(menu: Menu): void {
  for (const { submenu } of menu.items) {
    submenu?.dispose();
  }
  menu.dispose();
}
