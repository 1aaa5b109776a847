/** The table of Ollama instances. */

import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import { coldModels, drain, unload, warm } from '../commands/actions';
import type { MenuEntry } from '../commands/menus';
import { cut, duration, instanceStatus, isUp, percent, placement, rate, rowKeys, UNKNOWN, wholeSeconds } from '../format';
import type { InstanceView } from '../kernel/model';
import { PLAIN_NAME } from '../magicLine';
import { MenuButton } from './ButtonsView';
import { Bar, type Column, Disclosure, NoRows, Pieces, State, Sub } from './ElementsView';
import { Find, useSteadyOrder } from './FindView';
import { InstanceDetails } from './InstanceDetailsView';
import { matching } from './instanceOrder';
import { useOpenRows } from './openRows';
import { Age, type PanelTools, Sections, useTools, Wide } from './PanelContext';
import { SectionTable } from './SectionView';
import { Sparkline } from './SparklineView';

const LONG = 9; // instances: from here on they can be filtered and ordered
const MODELS_SHOWN = 3; // in a row; its details have all

export const Instances = React.memo(function Instances({ instances }: { readonly instances: readonly InstanceView[] }): React.JSX.Element {
  const { trans } = useTools();
  const [open, toggle] = useOpenRows();
  const wide = React.useContext(Wide);
  const columns = columnsOf(wide, trans);
  const isLong = instances.length >= LONG;
  const [words, setWords] = React.useState('');
  const found = React.useMemo(() => (isLong ? matching(instances, words) : instances), [instances, isLong, words]);
  const { order } = React.useContext(Sections);
  const body = React.useRef<HTMLTableSectionElement>(null);
  const rows = useSteadyOrder(found, isLong ? order : 'configured', body);
  const keys = rowKeys(rows.map(({ id }) => id));
  return (
    <SectionTable
      name="instances"
      caption={trans.__('Ollama instances')}
      count={trans.__('%1 of %2 up', instances.filter(isUp).length, instances.length)}
      className="gz-Instances"
      columns={columns}
      above={
        isLong && (
          <tr>
            <td colSpan={columns.length}>
              <Find words={words} onWords={setWords} found={found.length} total={instances.length} />
            </td>
          </tr>
        )
      }
    >
      <tbody ref={body}>
        {instances.length === 0 && <NoInstances columns={columns.length} />}
        {instances.length > 0 && found.length === 0 && <NoRows columns={columns.length}>{trans.__('No instance has this.')}</NoRows>}
        {rows.map((instance, index) => (
          <React.Fragment key={keys[index]}>
            <Instance instance={instance} wide={wide} open={open.has(instance.id)} onToggle={toggle} />
            {open.has(instance.id) && (
              <tr className="gz-Details">
                <td colSpan={columns.length}>
                  <InstanceDetails instance={instance} />
                </td>
              </tr>
            )}
          </React.Fragment>
        ))}
      </tbody>
    </SectionTable>
  );
});

function columnsOf(wide: boolean, trans: TranslationBundle): Column[] {
  return [
    { width: wide ? 'wide-name' : 'name', head: trans.__('Instance') },
    { width: wide ? 'wide-status' : 'status', head: trans.__('Status') },
    { width: 'rest', head: trans.__('Load') },
    ...(wide ? [{ width: 'wide-line', head: trans.__('Tokens/s') }] : []),
    { width: 'menu', head: trans.__('Actions'), isPlain: true }
  ];
}

interface InstanceProps {
  readonly instance: InstanceView;
  readonly wide: boolean;
  readonly open: boolean;
  readonly onToggle: (id: string) => void;
}

const Instance = React.memo(function Instance({ instance, wide, open, onToggle }: InstanceProps): React.JSX.Element {
  const tools = useTools();
  const { trans } = tools;
  const name = cut(instance.id);
  return (
    <tr data-instance={instance.id}>
      <th scope="row" aria-label={instance.id} title={`${instance.id}\n${instance.url}`}>
        <Disclosure
          open={open}
          label={open ? trans.__('Hide details of %1', name) : trans.__('Show details of %1', name)}
          onToggle={() => onToggle(instance.id)}
        >
          {instance.id}
        </Disclosure>
        <Sub title={instance.tags.join(' ')}>{instance.tags.join(' ')}</Sub>
      </th>
      <td>
        <State status={instanceStatus(instance)} reason={instance.reason} />
        <Sub title={trans.__('median latency and error rate of recent requests')}>
          <Pieces parts={[duration(instance.latency_s), percent(instance.error_rate)]} />
        </Sub>
      </td>
      <td>
        <Load instance={instance} />
      </td>
      {wide && (
        <td>
          <Sparkline series={instance.tokens_per_s} label={trans.__('Tokens per second of %1, last minute', name)} format={rate} />
        </td>
      )}
      <td>
        <MenuButton label={trans.__('Actions for %1', instance.id)} entries={() => menuOf(instance, tools)} />
      </td>
    </tr>
  );
});

function NoInstances({ columns }: { readonly columns: number }): React.JSX.Element {
  const { trans, steps } = useTools();
  return (
    <NoRows columns={columns}>
      <p>{trans.__('None yet. Start Ollama, or add an instance to the configuration.')}</p>
      <button className="gz-button" onClick={steps.examine}>
        {trans.__('Run %gleitzeit doctor')}
      </button>
    </NoRows>
  );
}

function Load({ instance }: { readonly instance: InstanceView }): React.JSX.Element {
  const { trans } = useTools();
  if (instanceStatus(instance) === 'failed') {
    return <Retry instance={instance} />;
  }
  return (
    <>
      <Bar used={instance.in_flight} most={instance.max_concurrent} />
      {instance.warm.slice(0, MODELS_SHOWN).map((model, index) => (
        <span key={index} className="gz-sub gz-Model" title={`${model.name} ${placement(model.gpu_share)}`}>
          <span className="gz-code">{model.name}</span> <span>{placement(model.gpu_share)}</span>
        </span>
      ))}
      {instance.warm.length > MODELS_SHOWN && <Sub>{trans.__('and %1 more', instance.warm.length - MODELS_SHOWN)}</Sub>}
    </>
  );
}

function Retry({ instance }: { readonly instance: InstanceView }): React.JSX.Element {
  const { trans } = useTools();
  const age = React.useContext(Age);
  const when = instance.retry_in_s === null ? '' : trans.__('retry in %1', wholeSeconds(instance.retry_in_s - age));
  return (
    <>
      <span className="gz-muted gz-clip" title={instance.reason}>
        {when || instance.reason || UNKNOWN}
      </span>
      {when && instance.reason && <Sub title={instance.reason}>{instance.reason}</Sub>}
    </>
  );
}

function menuOf(instance: InstanceView, { trans, act, steps }: PanelTools): MenuEntry[] {
  const first = drain(instance, trans);
  const unloads = instance.warm.map(model => unload(instance, model.name, trans));
  const warms = coldModels(instance).map(model => ({ label: cut(model), action: warm(instance, model, trans) }));
  const entries: MenuEntry[] = [first, ...unloads].map(action => ({ label: action.label, caption: action.caption, run: () => act(action) }));
  if (warms.length > 0) {
    entries.push({
      label: trans.__('Warm a model on %1', cut(instance.id)),
      entries: warms.map(({ label, action }) => ({ label, caption: action.caption, run: () => act(action) }))
    });
  }
  if (PLAIN_NAME.test(instance.id)) {
    const caption = trans.__('A cell whose text this instance alone answers');
    entries.push('separator', { label: trans.__('Insert a cell that asks %1', cut(instance.id)), caption, run: () => steps.insertPromptFor(instance.id) });
  }
  entries.push(
    'separator',
    { label: trans.__('Copy its name'), caption: instance.id, run: () => steps.copy(instance.id) },
    { label: trans.__('Copy its address'), caption: instance.url, run: () => steps.copy(instance.url) }
  );
  return entries;
}
