/** A menu below a button. Its labels may hold text of a kernel or a model: they become text nodes. */

import { CommandRegistry } from '@lumino/commands';
import { Menu } from '@lumino/widgets';

export interface Choice {
  readonly label: string;
  readonly caption?: string;
  /** None: the line only says something. */
  readonly choose?: () => void;
}

export function offer(anchor: HTMLElement, choices: readonly Choice[]): void {
  const commands = new CommandRegistry();
  const menu = new Menu({ commands });
  menu.addClass('gz-Choices');
  choices.forEach(({ label, caption, choose }, index) => {
    const command = `choose-${index}`;
    commands.addCommand(command, {
      label,
      caption: caption ?? label,
      describedBy: { args: null },
      isEnabled: () => choose !== undefined,
      execute: () => choose?.()
    });
    menu.addItem({ command });
  });
  menu.aboutToClose.connect(() => {
    anchor.focus();
    window.setTimeout(() => menu.dispose(), 0); // the chosen command still has to run
  });
  const box = anchor.getBoundingClientRect();
  menu.open(box.left, box.bottom);
}
