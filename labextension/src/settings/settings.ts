/** What a person has set. Values are checked here too, since a file of settings may hold anything. */

/** The parts of the panel that can be closed. */
export const SECTIONS = ['running', 'instances', 'execution', 'sessions', 'failovers', 'security'] as const;
/** How a long list of instances may be ordered. */
export const ORDERS = ['configured', 'name', 'status', 'load', 'latency', 'errors', 'tokens'] as const;

export type Section = (typeof SECTIONS)[number];
export type InstanceOrder = (typeof ORDERS)[number];

export interface Settings {
  readonly statusBar: boolean;
  readonly autoAttach: boolean;
  readonly refreshInterval: number; // s
  readonly defaultModel: string;
  readonly showSecurityEvents: boolean;
  readonly confirmDestructive: boolean;
  readonly closedSections: readonly Section[];
  readonly instanceOrder: InstanceOrder;
}

export const DEFAULTS: Settings = {
  statusBar: true,
  autoAttach: true,
  refreshInterval: 0.25,
  defaultModel: '',
  showSecurityEvents: true,
  confirmDestructive: true,
  closedSections: [],
  instanceOrder: 'configured'
};

export const SHORTEST_INTERVAL_S = 0.25; // the kernel sends no faster
export const LONGEST_INTERVAL_S = 10;
const MODEL = /^[\w][\w.:/@-]*$/;

function flag(value: unknown, otherwise: boolean): boolean {
  return typeof value === 'boolean' ? value : otherwise;
}

/** Those of the names that are meant. */
function chosen<Name extends string>(value: unknown, names: readonly Name[]): Name[] {
  const given: readonly unknown[] = Array.isArray(value) ? value : [value];
  return names.filter(name => given.includes(name));
}

/** The settings that a record holds; what is missing or wrong is the default. */
export function readSettings(values: Readonly<Record<string, unknown>>): Settings {
  const { refreshInterval: interval, defaultModel: model } = values;
  return {
    statusBar: flag(values.statusBar, DEFAULTS.statusBar),
    autoAttach: flag(values.autoAttach, DEFAULTS.autoAttach),
    refreshInterval:
      typeof interval === 'number' && interval >= SHORTEST_INTERVAL_S && interval <= LONGEST_INTERVAL_S ? interval : DEFAULTS.refreshInterval,
    defaultModel: typeof model === 'string' && MODEL.test(model) ? model : DEFAULTS.defaultModel,
    showSecurityEvents: flag(values.showSecurityEvents, DEFAULTS.showSecurityEvents),
    confirmDestructive: flag(values.confirmDestructive, DEFAULTS.confirmDestructive),
    closedSections: chosen(values.closedSections, SECTIONS),
    instanceOrder: chosen(values.instanceOrder, ORDERS)[0] ?? DEFAULTS.instanceOrder
  };
}
