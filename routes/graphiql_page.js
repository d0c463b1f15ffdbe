"use strict";
// GraphiQL with a sign-in bar. Its data comes from the page's #convene-data element.
(async () => {
  const data = JSON.parse(document.getElementById("convene-data").textContent);
  const element = (id) => document.getElementById(id);
  const tell = (text, isProblem = false) => {
    element("notice").textContent = text;
    element("notice").classList.toggle("problem", isProblem);
  };

  // ---- what the browser keeps: under a prefix of our own, so that other GraphiQLs of this origin don't mix in

  const PREFIX = "convene:";
  const backing = (kind) => {
    try {
      const store = window[kind];
      store.setItem(`${PREFIX}probe`, "1");
      store.removeItem(`${PREFIX}probe`);
      return store;
    } catch {
      const kept = new Map(); // storage is forbidden: keep things as long as the page lives
      return {
        getItem: (key) => kept.get(key) ?? null,
        setItem: (key, value) => { kept.set(key, value); },
        removeItem: (key) => { kept.delete(key); },
        key: (index) => [...kept.keys()][index] ?? null,
        get length() { return kept.size; },
      };
    }
  };
  const local = backing("localStorage");
  const session = backing("sessionStorage");
  const ourKeys = () => Array.from({ length: local.length }, (_, index) => local.key(index)).filter((key) => key.startsWith(PREFIX));
  const storage = {
    getItem: (key) => local.getItem(PREFIX + key),
    setItem: (key, value) => local.setItem(PREFIX + key, value),
    removeItem: (key) => local.removeItem(PREFIX + key),
    clear: () => ourKeys().forEach((key) => local.removeItem(key)),
    get length() { return ourKeys().length; },
  };

  // ---- examples and tabs

  const examples = (typeof data.examples === "string" ? JSON.parse(data.examples || "[]") : data.examples ?? []).map(({ name, query, variables }) => {
    const operation = /\b(?:query|mutation|subscription)\s+(\w+)/.exec(query)?.[1];
    const text = typeof variables === "string" ? variables : variables && Object.keys(variables).length ? JSON.stringify(variables, null, 2) : "";
    return { query: name && name !== operation && !query.trimStart().startsWith("#") ? `# ${name}\n${query}` : query, variables: text, name: operation };
  });
  const TABS = "graphiql:tabState";
  const storedTabs = () => {
    try {
      const state = JSON.parse(storage.getItem(TABS));
      return state?.tabs?.length ? state : null;
    } catch {
      return null;
    }
  };
  // GraphiQL takes the text of the first editors from these two keys and looks for a tab that fits them
  const openWith = (tab) => {
    for (const part of ["query", "variables"]) {
      if (tab?.[part]) storage.setItem(`graphiql:${part}`, tab[part]);
      else storage.removeItem(`graphiql:${part}`);
    }
  };
  const before = storedTabs();
  if (!before) storage.removeItem(TABS);
  openWith(before ? before.tabs[before.activeTabIndex] ?? before.tabs[0] : examples[0]);

  const restoreExamples = () => {
    const state = storedTabs() ?? { tabs: [], activeTabIndex: 0 };
    const missing = examples.filter((example) => !state.tabs.some((tab) => tab.query === example.query && (tab.variables ?? "") === example.variables));
    if (!missing.length) {
      tell("Every example is open in a tab already.");
      return;
    }
    state.activeTabIndex = state.tabs.length;
    for (const { query, variables, name } of missing) {
      const id = `example-${Date.now()}-${state.tabs.length}`;
      state.tabs.push({ id, title: name ?? "<untitled>", query, variables, headers: null, operationName: name ?? null, response: null });
    }
    storage.setItem(TABS, JSON.stringify(state));
    location.reload();
  };
  if (examples.length) {
    element("restore").hidden = false;
    element("restore").addEventListener("click", restoreExamples);
  }

  // ---- signing in

  const EARLY = 30_000; // a token is replaced this long before it ends
  const issued = new Set(); // tokens this page fetched: where one of them stands in the headers, the current one is meant
  const select = element("person");
  let person = "";
  let token = "";
  let ends = Infinity;
  let timer;
  let pending = null;

  const bearer = () => `Bearer ${token}`;
  const isOurs = (header) => {
    const sent = /^Bearer(?:\s+(\S+))?\s*$/i.exec(header);
    return Boolean(sent) && (!sent[1] || issued.has(sent[1]));
  };

  const fetchToken = async (email) => {
    const response = await fetch("/dev/token", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ email }),
    });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return response.json();
  };

  const signIn = async () => {
    clearTimeout(timer);
    const email = person;
    let next = { token: "", ends: Infinity };
    let problem = "";
    if (email) {
      try {
        const { accessToken, expiresAt } = await fetchToken(email);
        const moment = typeof expiresAt === "number" ? expiresAt * 1000 : Date.parse(expiresAt);
        next = { token: accessToken, ends: Number.isNaN(moment) ? Infinity : moment };
        issued.add(accessToken);
      } catch (error) {
        problem = `No token for ${email}: ${error.message}.`;
      }
    }
    if (email !== person) return; // somebody else was chosen meanwhile
    ({ token, ends } = next);
    tell(problem, true);
    element("expiry").textContent = !token ? "" : ends === Infinity ? "signed in" : `token valid until ${new Date(ends).toLocaleTimeString()}`;
    if (ends !== Infinity) timer = setTimeout(renew, Math.min(Math.max(ends - EARLY - Date.now(), 10_000), 2 ** 31 - 1));
    render();
  };
  const renew = () => {
    const started = signIn().finally(() => { if (pending === started) pending = null; });
    pending = started;
    return started;
  };
  const choose = (email) => {
    person = email;
    session.setItem(`${PREFIX}person`, email);
    return renew();
  };

  // ---- requests

  const send = async (params, given) => {
    const headers = new Headers(given);
    if (isOurs(headers.get("Authorization") ?? "Bearer")) {
      if (token) headers.set("Authorization", bearer());
      else headers.delete("Authorization");
    }
    headers.set("Content-Type", "application/json");
    if (!headers.has("Accept")) headers.set("Accept", "application/json");
    return fetch(data.endpoint, { method: "POST", headers, body: JSON.stringify(params) });
  };

  const fetcher = async (params, options) => {
    const given = options?.headers ?? {};
    if (pending) await pending;
    if (person && (!token || Date.now() > ends - EARLY)) await renew();
    let response = await send(params, given);
    const ownHeader = Object.entries(given).some(([name, value]) => name.toLowerCase() === "authorization" && !isOurs(String(value)));
    if (response.status === 401 && person && !ownHeader) { // the server knows this token no more
      await renew();
      response = await send(params, given);
    }
    const text = await response.text();
    try {
      return JSON.parse(text);
    } catch {
      return { errors: [{ message: `HTTP ${response.status}: ${text.slice(0, 500) || response.statusText || "no answer"}` }] };
    }
  };

  // ---- the page

  const h = React.createElement;
  const explorer = GraphiQLPluginExplorer.explorerPlugin({ showAttribution: false });
  const prefilled = () => JSON.stringify({ Authorization: bearer() }, null, 2);
  let root = null;

  // Keeps the Authorization shown in the headers editor that of the person chosen in the bar.
  const HeaderSync = ({ current }) => {
    const { headerEditor, activeTabIndex } = GraphiQL.React.useEditorContext({ nonNull: true });
    React.useEffect(() => {
      if (!headerEditor) return;
      const text = headerEditor.getValue();
      try {
        const [name, shown] = Object.entries(JSON.parse(text)).find(([key]) => key.toLowerCase() === "authorization") ?? [];
        if (name && isOurs(String(shown)) && shown !== current) headerEditor.setValue(text.replace(JSON.stringify(shown), () => JSON.stringify(current)));
      } catch {
        // unfinished JSON is the person's own
      }
    }, [headerEditor, activeTabIndex, current]);
    return null;
  };

  function render() {
    root?.render(h(GraphiQL, {
      fetcher,
      storage,
      plugins: [explorer],
      defaultTabs: examples.length ? examples.map(({ query, variables }) => ({ query, variables, headers: null })) : undefined,
      defaultHeaders: prefilled(),
      defaultEditorToolsVisibility: true,
      isHeadersEditorEnabled: true,
      shouldPersistHeaders: false,
    }, h(GraphiQL.Logo, null, null), h(HeaderSync, { current: bearer() })));
  }

  if (select) {
    const chosen = session.getItem(`${PREFIX}person`);
    select.value = chosen !== null && [...select.options].some(({ value }) => value === chosen) ? chosen : data.devPeople[0];
    select.addEventListener("change", () => choose(select.value));
    await choose(select.value);
  }
  root = ReactDOM.createRoot(element("graphiql"));
  render();
})();
