/** The names of the commands. They are promised: shortcuts and other extensions use them. */

export const SHOW_PANEL = 'gleitzeit:show-panel';
export const LOAD = 'gleitzeit:load-extension';
export const ATTACH = 'gleitzeit:ask-kernel';
export const INSERT_LLM = 'gleitzeit:insert-llm-cell';
export const INSERT_SANDBOX = 'gleitzeit:insert-sandbox-cell';
export const DRAIN = 'gleitzeit:drain-instance';
export const RESUME = 'gleitzeit:resume-instance';
export const WARM = 'gleitzeit:warm-model';
export const UNLOAD = 'gleitzeit:unload-model';
export const CANCEL = 'gleitzeit:cancel-run';
export const STOP_CONTAINER = 'gleitzeit:stop-container';
export const RESET_SESSION = 'gleitzeit:reset-session';
export const RESTART_POOL = 'gleitzeit:restart-pool';
export const RELOAD = 'gleitzeit:reload-configuration';
export const COPY_DIAGNOSTICS = 'gleitzeit:copy-diagnostics';
export const OPEN_SETTINGS = 'gleitzeit:open-settings';

export const NO_ARGUMENTS = { args: { type: 'object', properties: {}, additionalProperties: false } } as const;
