/** Where untrusted code runs: the modes, and the containers of each. */

import React from 'react';

import { shortId, stopContainer } from '../commands/actions';
import { bytes, count, modeNote, rowKeys, UNKNOWN } from '../format';
import type { ContainerView, ModeView } from '../kernel/model';
import { ActionButton } from './ButtonsView';
import { Bar, type Column, Columns, Disclosure, Heads, Sub } from './ElementsView';
import { useOpenRows } from './openRows';
import { useTools } from './PanelContext';
import { SectionTable } from './SectionView';
import { Since } from './TimesView';

interface ExecutionProps {
  readonly modes: readonly ModeView[];
  readonly containers: readonly ContainerView[];
}

export const Execution = React.memo(function Execution({ modes, containers }: ExecutionProps): React.JSX.Element {
  const { trans, steps } = useTools();
  const [open, toggle] = useOpenRows();
  const noDocker = modes.some(({ id, enabled, available }) => id.startsWith('docker') && enabled && available === false);
  const keys = rowKeys(modes.map(({ id }) => id));
  const columns: Column[] = [
    { width: 'rest', head: trans.__('Mode') },
    { width: 'count', head: trans.__('Active'), isNumber: true },
    { width: 'count', head: trans.__('Queued'), isNumber: true },
    { width: 'bar', head: trans.__('Containers') }
  ];
  return (
    <SectionTable
      name="execution"
      caption={trans.__('Python execution')}
      count={trans.__('%1 active', count(modes.reduce((sum, { active }) => sum + active, 0)))}
      className="gz-Execution"
      columns={columns}
    >
      <tbody>
        {modes.map((mode, index) => {
          const own = containers.filter(container => container.mode === mode.id);
          return <Mode key={keys[index]} mode={mode} containers={own} open={open.has(mode.id)} onToggle={toggle} />;
        })}
        {noDocker && (
          <tr>
            <td colSpan={4}>
              <button className="gz-button" onClick={steps.examine}>
                {trans.__('Run %gleitzeit doctor')}
              </button>
              <Sub>{trans.__('It says what Docker lacks here, and what to do.')}</Sub>
            </td>
          </tr>
        )}
      </tbody>
    </SectionTable>
  );
});

interface ModeProps {
  readonly mode: ModeView;
  readonly containers: readonly ContainerView[];
  readonly open: boolean;
  readonly onToggle: (id: string) => void;
}

function Mode({ mode, containers, open, onToggle }: ModeProps): React.JSX.Element {
  const { trans } = useTools();
  const label = open ? trans.__('Hide containers of %1', mode.label) : trans.__('Show containers of %1', mode.label);
  return (
    <>
      <tr data-mode={mode.id}>
        <th scope="row" aria-label={mode.label} title={mode.note}>
          {containers.length > 0 ? (
            <Disclosure open={open} label={label} onToggle={() => onToggle(mode.id)}>
              {mode.label}
            </Disclosure>
          ) : (
            mode.label
          )}
          {mode.note && !modeNote(mode, trans) && <Sub title={mode.note}>{mode.note}</Sub>}
        </th>
        <ModeCells mode={mode} />
      </tr>
      {open && containers.length > 0 && (
        <tr className="gz-Details">
          <td colSpan={4}>
            <Containers mode={mode} containers={containers} />
          </td>
        </tr>
      )}
    </>
  );
}

function ModeCells({ mode }: { readonly mode: ModeView }): React.JSX.Element {
  const { trans } = useTools();
  const note = modeNote(mode, trans);
  if (note && mode.enabled) {
    return (
      <td colSpan={3} className="gz-muted gz-note">
        {note}
      </td>
    );
  }
  if (note) {
    return (
      <>
        <td className="gz-number gz-muted">{UNKNOWN}</td>
        <td className="gz-number gz-muted">{UNKNOWN}</td>
        <td className="gz-muted gz-note">{note}</td>
      </>
    );
  }
  return (
    <>
      <td className="gz-number">{mode.active}</td>
      <td className="gz-number">{mode.queued}</td>
      <td>
        <Bar used={mode.containers} most={mode.max_containers} />
        <Sub title={trans.__('memory that they hold now')}>{bytes(mode.memory_bytes)}</Sub>
      </td>
    </>
  );
}

function Containers({ mode, containers }: { readonly mode: ModeView; readonly containers: readonly ContainerView[] }): React.JSX.Element {
  const { trans } = useTools();
  const keys = rowKeys(containers.map(({ id }) => id));
  const columns: Column[] = [
    { width: 'rest', head: trans.__('Container') },
    { width: 'size', head: trans.__('Memory'), isNumber: true },
    { width: 'time', head: trans.__('Age'), isNumber: true },
    { width: 'action', head: trans.__('Action'), isPlain: true }
  ];
  return (
    <table className="gz-Table gz-Containers">
      <caption className="gz-hidden">{trans.__('Containers of %1', mode.label)}</caption>
      <Columns columns={columns} />
      <thead>
        <Heads columns={columns} />
      </thead>
      <tbody>
        {containers.map((container, index) => (
          <Container key={keys[index]} container={container} />
        ))}
      </tbody>
    </table>
  );
}

const Container = React.memo(function Container({ container }: { readonly container: ContainerView }): React.JSX.Element {
  const { trans } = useTools();
  const { id, session, state, image } = container;
  const states = new Map([
    ['starting', trans.__('starting')],
    ['idle', trans.__('idle')],
    ['running', trans.__('running')],
    ['session', trans.__('kept')]
  ]);
  return (
    <tr data-container={id}>
      <th scope="row" title={[id, image].filter(Boolean).join('\n')}>
        <span className="gz-code">{id ? shortId(id) : UNKNOWN}</span>
        <Sub title={session}>{[states.get(state) ?? state, session && trans.__('session %1', session)].filter(Boolean).join(' · ')}</Sub>
      </th>
      <td className="gz-number">{bytes(container.memory_bytes)}</td>
      <td className="gz-number">
        <Since at={container.made_at} />
      </td>
      <td>{id && <ActionButton action={stopContainer(container, trans)} text={trans.__('Stop')} />}</td>
    </tr>
  );
});
