/**
 * Tells the developer in the console what goes wrong: connections that are blocked or refused, and
 * messages that reach nobody. `{% hookbox_script %}` loads it while DEBUG is on.
 *
 * A classic script, so that it may precede the page's import map. It runs before all other scripts.
 */
(() => {
  const HELP = "https://django-hookbox.readthedocs.io/page/";
  const BECAUSE = "(Shown because DEBUG is on.)";
  /** Milliseconds after which a connection that is lost counts as blocked; a restart takes less. */
  const PATIENCE = 2000;

  // The document's property for its connections, as in hookbox.js.
  const kept = (document[Symbol.for("djhookbox")] ??= new Map());
  if (kept.watch) {
    return; // the template tag is used twice
  }
  const watched = new WeakSet();
  kept.watch = watch; // for connections with the names of 2011, which the document does not keep

  const say = (text, page) => console.warn(`hookbox: ${text} See ${HELP}${page} ${BECAUSE}`);
  const sentence = (text) => (text ? `: ${text.replace(/[.\s]*$/, "")}.` : ".");

  function config() {
    return JSON.parse([...document.querySelectorAll("#djhookbox-config")].at(-1)?.textContent ?? "{}");
  }

  /** The host and port that the page connects to. */
  function address() {
    const { url, port } = config();
    return url ? new URL(url, location.href).host : `${location.hostname}:${port}`;
  }

  /** Ask the site why the page cannot connect. */
  async function explain({ url }) {
    const where = url ? new URL(url, location.href).host : address();
    let problems;
    try {
      const answer = await fetch(config().diagnosis, { headers: { Accept: "application/json" } });
      ({ problems } = await answer.json());
    } catch {
      say(`The page cannot connect to ${where}, and the site does not say why.`, "troubleshooting.html");
      return;
    }
    for (const { text, advice } of problems) {
      say(`The page cannot connect to ${where}. ${text} ${advice}`, "troubleshooting.html");
    }
    if (problems.length === 0) {
      say(
        `The site reaches the process, but this page cannot connect to ${where}. An extension, a firewall or ` +
          "a Content Security Policy may block it; other lines of the console may tell why.",
        "troubleshooting.html",
      );
    }
  }

  /** @param {any} connection */
  function watch(connection) {
    if (watched.has(connection)) {
      return;
    }
    watched.add(connection);
    let explaining = 0;
    connection.on("refused", ({ message, code, help }) => {
      console.warn(`hookbox: The site refused the connection${sentence(message)} (${code}) See ${help} ${BECAUSE}`);
    });
    connection.on("error", ({ message, code, help }) => {
      console.warn(`hookbox: ${message} (${code}) See ${help} ${BECAUSE}`);
    });
    connection.on("disconnected", ({ code, reason, reconnecting }) => {
      clearTimeout(explaining);
      if (reconnecting) {
        explaining = setTimeout(() => connection.connected || explain(connection), PATIENCE);
      } else if (code !== 1000) {
        const page = `reference/errors.html#closecode-${code}`;
        say(`The connection was closed for good (${code})${sentence(reason)}`, page);
      }
    });
    const { publish } = connection;
    connection.publish = (channelName, payload, options) => {
      const answered = publish.call(connection, channelName, payload, options);
      answered.then(
        (answer) => {
          if (answer?.delivered === 0) {
            say(`A message to ${channelName} reached nobody: nobody else is subscribed to it.`, "troubleshooting.html");
          }
        },
        ({ message, help }) => {
          console.warn(`hookbox: A message to ${channelName} was not published: ${message} See ${help} ${BECAUSE}`);
        },
      );
      return answered;
    };
  }

  document.addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI }) => {
    if (effectiveDirective === "connect-src" && blockedURI.includes(address())) {
      say(`The page's Content Security Policy blocks ${blockedURI}: add it to connect-src.`, "howto/csp.html");
    }
  });

  kept.forEach(({ connection }) => watch(connection));
  const { set } = kept;
  kept.set = (key, value) => {
    watch(value.connection);
    return set.call(kept, key, value);
  };
})();
