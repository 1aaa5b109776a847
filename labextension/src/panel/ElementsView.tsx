/** The small parts that several tables are made of. */

import React from 'react';

import { fraction, type Status } from '../format';
import { useTools } from './PanelContext';

export function Sub(props: { readonly title?: string; readonly children: React.ReactNode }): React.JSX.Element {
  return (
    <span className="gz-sub" title={props.title}>
      {props.children}
    </span>
  );
}

export interface Column {
  /** By class: with widths, no new number moves anything. */
  readonly width: string;
  readonly head: string;
  readonly isNumber?: boolean;
  /** What it holds is seen without a heading. */
  readonly isPlain?: boolean;
}

export function Columns({ columns }: { readonly columns: readonly Column[] }): React.JSX.Element {
  return (
    <colgroup>
      {columns.map(({ width }, index) => (
        <col key={index} className={`gz-col-${width}`} />
      ))}
    </colgroup>
  );
}

export function Heads({ columns }: { readonly columns: readonly Column[] }): React.JSX.Element {
  return (
    <tr>
      {columns.map(({ head, isNumber, isPlain }, index) => (
        <th key={index} scope="col" className={isNumber ? 'gz-number' : undefined}>
          {isPlain ? <span className="gz-hidden">{head}</span> : head}
        </th>
      ))}
    </tr>
  );
}

/** Parts that stay whole at the end of a line. */
export function Pieces({ parts }: { readonly parts: readonly string[] }): React.JSX.Element {
  return (
    <>
      {parts.map((part, index) => (
        <React.Fragment key={index}>
          <span className="gz-piece">{index < parts.length - 1 ? `${part} ·` : part}</span>{' '}
        </React.Fragment>
      ))}
    </>
  );
}

export function NoRows(props: { readonly columns: number; readonly children: React.ReactNode }): React.JSX.Element {
  return (
    <tr>
      <td colSpan={props.columns} className="gz-muted">
        {props.children}
      </td>
    </tr>
  );
}

export function Bar({ used, most }: { readonly used: number; readonly most: number }): React.JSX.Element {
  const part = fraction(used, most);
  return (
    <span className={part >= 1 ? 'gz-Bar gz-mod-full' : 'gz-Bar'}>
      <i aria-hidden="true">
        <u style={{ width: `${Math.round(part * 100)}%` }} />
      </i>
      <span>{`${used}/${most}`}</span>
    </span>
  );
}

/** Turned by the style where what it stands before is open. */
export function Triangle(): React.JSX.Element {
  return (
    <svg width="8" height="8" viewBox="0 0 8 8" aria-hidden="true">
      <path d="M2 1l4 3-4 3z" />
    </svg>
  );
}

/** The button of a row that shows or hides what belongs to it. Its text is what the row is headed by. */
export function Disclosure(props: {
  readonly open: boolean;
  readonly label: string;
  readonly onToggle: () => void;
  readonly children: React.ReactNode;
}): React.JSX.Element {
  const { open, label, onToggle, children } = props;
  return (
    <button className="gz-Disclosure" aria-expanded={open} aria-label={label} onClick={onToggle}>
      <Triangle />
      <span>{children}</span>
    </button>
  );
}

const SIGNS: Record<Status, string> = {
  ok: 'M3.4 6.2l1.8 1.8 3.4-4',
  degraded: 'M6 3v3.6M6 8.4v.8',
  probing: 'M4 4.6a2 2 0 1 1 2 2V8M6 9.2v.4',
  draining: 'M3.8 6h4.4',
  failed: 'M4 4l4 4M8 4l-4 4',
  unknown: 'M4.4 6h.4M6.2 6h.4M8 6h.4'
};

/** A state as a picture; its word stands beside it. */
export function Sign({ status }: { readonly status: Status }): React.JSX.Element {
  return (
    <svg className="gz-Sign" width="12" height="12" viewBox="0 0 12 12" aria-hidden="true">
      <circle cx="6" cy="6" r="5" />
      <path d={SIGNS[status]} />
    </svg>
  );
}

export function State({ status, reason }: { readonly status: Status; readonly reason: string }): React.JSX.Element {
  const { trans } = useTools();
  const labels: Record<Status, string> = {
    ok: trans.__('OK'),
    degraded: trans.__('Degraded'),
    probing: trans.__('Probing'),
    draining: trans.__('Draining'),
    failed: trans.__('Failed'),
    unknown: trans.__('Unknown')
  };
  return (
    <span className={`gz-State gz-mod-${status}`} title={reason}>
      <Sign status={status} />
      {labels[status]}
    </span>
  );
}
