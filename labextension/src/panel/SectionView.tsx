/** A table with a heading that closes and opens it, which is remembered. */

import React from 'react';

import type { Section } from '../settings/settings';
import { type Column, Columns, Heads, Triangle } from './ElementsView';
import { Sections } from './PanelContext';

interface SectionProps {
  readonly name: Section;
  readonly caption: string;
  /** Beside the caption, in words. */
  readonly aside?: string;
  /** Beside the caption of a closed section: how much there is. */
  readonly count?: string;
  readonly className: string;
  readonly columns: readonly Column[];
  /** Whether its columns are plain without their headings. */
  readonly headsHidden?: boolean;
  /** A row above the headings. */
  readonly above?: React.ReactNode;
  readonly children: React.ReactNode;
}

export function SectionTable(props: SectionProps): React.JSX.Element {
  const { name, caption, aside, count, className, columns, headsHidden, above, children } = props;
  const { closed, toggle } = React.useContext(Sections);
  const isOpen = !closed.includes(name);
  const beside = [isOpen ? '' : count, aside].filter(Boolean).join(' · ');
  return (
    <table className={`gz-Table gz-Section ${className}`}>
      <caption>
        <button className="gz-SectionButton" aria-expanded={isOpen} onClick={() => toggle(name)}>
          <Triangle />
          {caption}
        </button>
        {beside && <span className="gz-counts">{beside}</span>}
      </caption>
      {isOpen && (
        <>
          <Columns columns={columns} />
          <thead className={headsHidden ? 'gz-hidden' : undefined}>
            {above}
            <Heads columns={columns} />
          </thead>
          {children}
        </>
      )}
    </table>
  );
}
