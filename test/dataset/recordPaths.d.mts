/** What the process has touched since the module was loaded: the call, a space, and the real path. */
export const touched: Array<string>;
