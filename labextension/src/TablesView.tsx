/** The live tables of the side panel: a drawing of one snapshot, nothing remembered. */

import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import {
  bytes,
  duration,
  fraction,
  instanceStatus,
  modeNote,
  percent,
  placement,
  type Status,
  timeOfDay,
  UNKNOWN,
  upCount,
  wholeSeconds
} from './format';
import type { FailoverView, InstanceView, ModeView, RunView, Snapshot } from './model';

interface Translated {
  readonly trans: TranslationBundle;
}

/** Asks for the menu of one instance, at this element. */
export type OnMenu = (instance: InstanceView, anchor: HTMLElement) => void;

/** `age`: seconds since the snapshot came, by which waiting times have moved on. */
export function LiveView(props: Translated & { snapshot: Snapshot; age: number; onMenu: OnMenu }): React.JSX.Element {
  const { snapshot, age, trans, onMenu } = props;
  if (snapshot.modes.length === 0) {
    return (
      <div className="gz-Empty" role="status">
        <b>{trans.__('Nothing asked yet')}</b>
        <p>{trans.__('The first %%llm or %%sandbox cell starts what will be shown here.')}</p>
      </div>
    );
  }
  return (
    <div className="gz-Body">
      <Summary snapshot={snapshot} trans={trans} />
      {snapshot.runs.length > 0 && <Running runs={snapshot.runs} age={age} trans={trans} />}
      <Instances instances={snapshot.instances} age={age} trans={trans} onMenu={onMenu} />
      <Execution modes={snapshot.modes} trans={trans} />
      <Failovers failovers={snapshot.failovers} trans={trans} />
    </div>
  );
}

function Summary({ snapshot, trans }: Translated & { snapshot: Snapshot }): React.JSX.Element {
  const queued = snapshot.queue_depth > 0 ? ` + ${snapshot.queue_depth}` : '';
  const tiles: [string, string, string][] = [
    [`${upCount(snapshot)}/${snapshot.instances.length}`, '', trans.__('instances')],
    [String(snapshot.in_flight), queued, trans.__('run, queue')],
    [String(Math.round(snapshot.tokens_per_s)), '', trans.__('tok/s')],
    [String(snapshot.containers), '', trans.__('containers')]
  ];
  return (
    <div className="gz-Summary">
      {tiles.map(([value, more, label]) => (
        <div key={label}>
          <b>
            {value}
            <small>{more}</small>
          </b>
          <span>{label}</span>
        </div>
      ))}
    </div>
  );
}

function Running({ runs, age, trans }: Translated & { runs: readonly RunView[]; age: number }): React.JSX.Element {
  return (
    <table className="gz-Table">
      <caption>{trans.__('Running')}</caption>
      <tbody>
        {runs.map(run => (
          <tr key={run.id}>
            <td>
              <span className="gz-code">{run.kind}</span> {run.label} {run.where && trans.__('on %1', run.where)}
              <Sub>{[wholeSeconds(run.elapsed_s + age), run.tokens > 0 ? trans.__('%1 tokens', run.tokens) : '', run.state].filter(Boolean).join(' · ')}</Sub>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Instances(props: Translated & { instances: readonly InstanceView[]; age: number; onMenu: OnMenu }): React.JSX.Element {
  const { instances, age, trans, onMenu } = props;
  return (
    <table className="gz-Table gz-Instances">
      <caption>{trans.__('Ollama instances')}</caption>
      <thead>
        <tr>
          <th scope="col">{trans.__('Instance')}</th>
          <th scope="col">{trans.__('Status')}</th>
          <th scope="col">{trans.__('Load')}</th>
          <th aria-label={trans.__('Actions')} />
        </tr>
      </thead>
      <tbody>
        {instances.length === 0 && <NoRows columns={4} text={trans.__('None yet. Start Ollama, or add one to the configuration.')} />}
        {instances.map(instance => (
          <tr key={instance.id} data-instance={instance.id}>
            <th scope="row" title={instance.url}>
              {instance.id}
              <Sub>{instance.tags.join(' ')}</Sub>
            </th>
            <td>
              <State status={instanceStatus(instance)} reason={instance.reason} trans={trans} />
              <Sub title={trans.__('median latency and error rate of recent requests')}>
                {`${duration(instance.latency_s)} · ${percent(instance.error_rate)}`}
              </Sub>
            </td>
            <td>
              <Load instance={instance} age={age} trans={trans} />
            </td>
            <td>
              <button
                className="gz-button"
                aria-haspopup="menu"
                aria-label={trans.__('Actions for %1', instance.id)}
                onClick={event => onMenu(instance, event.currentTarget)}
              >
                ⋯
              </button>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Load({ instance, age, trans }: Translated & { instance: InstanceView; age: number }): React.JSX.Element {
  if (instanceStatus(instance) === 'failed') {
    const text = instance.retry_in_s === null ? instance.reason : trans.__('retry in %1', wholeSeconds(instance.retry_in_s - age));
    return (
      <span className="gz-muted gz-clip" title={instance.reason}>
        {text || UNKNOWN}
      </span>
    );
  }
  return (
    <>
      <Bar used={instance.in_flight} most={instance.max_concurrent} />
      {instance.warm.map(model => (
        <Sub key={model.name} title={model.name}>
          <span className="gz-code">{model.name}</span> {placement(model.gpu_share)}
        </Sub>
      ))}
    </>
  );
}

function Execution({ modes, trans }: Translated & { modes: readonly ModeView[] }): React.JSX.Element {
  return (
    <table className="gz-Table">
      <caption>{trans.__('Python execution')}</caption>
      <thead>
        <tr>
          <th scope="col">{trans.__('Mode')}</th>
          <th scope="col" className="gz-number">
            {trans.__('Active')}
          </th>
          <th scope="col" className="gz-number">
            {trans.__('Queued')}
          </th>
          <th scope="col">{trans.__('Containers')}</th>
        </tr>
      </thead>
      <tbody>
        {modes.map(mode => (
          <tr key={mode.id} data-mode={mode.id}>
            <th scope="row" title={mode.note}>
              {mode.label}
              {mode.note && !modeNote(mode) && <Sub>{mode.note}</Sub>}
            </th>
            <ModeCells mode={mode} />
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function ModeCells({ mode }: { mode: ModeView }): React.JSX.Element {
  const note = modeNote(mode);
  return (
    <>
      <td className="gz-number">{note ? UNKNOWN : mode.active}</td>
      <td className="gz-number">{note ? UNKNOWN : mode.queued}</td>
      <td title={mode.memory_bytes === null ? '' : bytes(mode.memory_bytes)}>
        {note ? <span className="gz-muted gz-clip">{note}</span> : <Bar used={mode.containers} most={mode.max_containers} />}
      </td>
    </>
  );
}

function Failovers({ failovers, trans }: Translated & { failovers: readonly FailoverView[] }): React.JSX.Element {
  return (
    <table className="gz-Table gz-Failovers">
      <caption>{trans.__('Recent failovers')}</caption>
      <tbody>
        {failovers.length === 0 && <NoRows columns={3} text={trans.__('None.')} />}
        {failovers.map(failover => (
          <tr key={`${failover.at} ${failover.source} ${failover.target}`} title={failover.model}>
            <td className="gz-muted gz-number">{timeOfDay(failover.at)}</td>
            <td>{`${failover.source} → ${failover.target}`}</td>
            <td>{failover.reason}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function NoRows({ columns, text }: { columns: number; text: string }): React.JSX.Element {
  return (
    <tr>
      <td colSpan={columns} className="gz-muted">
        {text}
      </td>
    </tr>
  );
}

function Sub(props: { title?: string; children: React.ReactNode }): React.JSX.Element {
  return (
    <span className="gz-sub" title={props.title}>
      {props.children}
    </span>
  );
}

function Bar({ used, most }: { used: number; most: number }): React.JSX.Element {
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

/** Two strokes per state, so that it reads without colour. */
const SIGNS: Record<Status, string> = {
  ok: 'M3.4 6.2l1.8 1.8 3.4-4',
  degraded: 'M6 3v3.6M6 8.4v.8',
  probing: 'M4 4.6a2 2 0 1 1 2 2V8M6 9.2v.4',
  draining: 'M3.8 6h4.4',
  failed: 'M4 4l4 4M8 4l-4 4',
  unknown: 'M4.4 6h.4M6.2 6h.4M8 6h.4'
};

function State({ status, reason, trans }: Translated & { status: Status; reason: string }): React.JSX.Element {
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
      <svg width="12" height="12" viewBox="0 0 12 12" aria-hidden="true">
        <circle cx="6" cy="6" r="5" />
        <path d={SIGNS[status]} />
      </svg>
      {labels[status]}
    </span>
  );
}
