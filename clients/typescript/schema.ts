// Made from the OpenAPI document by `npm run generate`.
export interface paths {
    "/.well-known/jwks.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The public keys that check service tokens */
        get: operations["getJwks"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/access-exports/{token}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Fetches an access export by its link
         * @description The token is the credential; the archive opens with the key or passphrase of the person only.
         */
        get: operations["downloadAccessExport"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/account": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The page of one's own sessions, factors and password */
        get: operations["accountPage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/approve/{token}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Shows the question of an approval link
         * @description A page that asks to confirm. Opening it changes nothing: mail scanners follow links.
         */
        get: operations["showApprovalLink"];
        put?: never;
        /**
         * Answers by an approval link, once
         * @description The token is the credential; no cookie is involved, so no other site can answer in somebody's name.
         */
        post: operations["answerApprovalLink"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/codec/{namespace}/{direction}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Decrypts or encrypts payloads for the Temporal UI
         * @description Takes an API key, or the session cookie that `/ui-session` sets. Payloads of another organisation come back unchanged.
         */
        post: operations["transcodePayloads"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/console": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The console: runs, automations, incidents and more as pages */
        get: operations["console"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/console/{file}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Pages, scripts and styles of the console */
        get: operations["consoleAsset"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/docs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** A page to read about the API and try it */
        get: operations["documentation"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/docs/{file}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Scripts and styles of the page */
        get: operations["documentationAsset"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/healthz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Whether the process lives */
        get: operations["health"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/invitations/{token}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The page behind an invitation */
        get: operations["invitationPage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/live/{token}/frames": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Streams the page that a live link shows
         * @description Server-sent events `frame`, each the whole page as a JPEG, when it changed; `over` when the view ends.
         */
        get: operations["streamLiveView"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/live/{token}/inputs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Sends what a person does to the page that a live link shows
         * @description Reaches the page while the session waits for a person, and nobody else. The token is the credential; no cookie is involved.
         */
        post: operations["sendLiveInputs"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Metrics for Prometheus */
        get: operations["metrics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/openapi.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** OpenAPI 3.1 of this server, with its operations */
        get: operations["openApi"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/problems/{type}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Explains a kind of failure: what a problem's `type` points to */
        get: operations["explainProblem"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/readyz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Whether the process can do its work, each dependency named */
        get: operations["readiness"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/scim/v2/Groups": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Searches groups */
        get: operations["listScimGroups"];
        put?: never;
        /** Creates a group, which is a team */
        post: operations["createScimGroup"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/scim/v2/Groups/.search": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Searches groups, with the query in the body */
        post: operations["searchScimGroups"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/scim/v2/Groups/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads a group */
        get: operations["getScimGroup"];
        /** Replaces a group */
        put: operations["replaceScimGroup"];
        post?: never;
        /** Deletes a group */
        delete: operations["deleteScimGroup"];
        options?: never;
        head?: never;
        /**
         * Changes a group
         * @description Members of a team that makes owners are changed by people only.
         */
        patch: operations["patchScimGroup"];
        trace?: never;
    };
    "/scim/v2/ResourceTypes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Kinds of resources */
        get: operations["listScimResourceTypes"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/scim/v2/ResourceTypes/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One kind of resource */
        get: operations["getScimResourceType"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/scim/v2/Schemas": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Attributes of the resources */
        get: operations["listScimSchemas"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/scim/v2/Schemas/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Attributes of one kind */
        get: operations["getScimSchema"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/scim/v2/ServiceProviderConfig": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What the service can do */
        get: operations["getScimConfig"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/scim/v2/Users": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Searches users */
        get: operations["listScimUsers"];
        put?: never;
        /**
         * Creates a user
         * @description A name that is taken is refused with 409 `uniqueness`, whoever made the user: search for it and change that one.
         */
        post: operations["createScimUser"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/scim/v2/Users/.search": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Searches users, with the query in the body */
        post: operations["searchScimUsers"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/scim/v2/Users/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Reads a user
         * @description `If-None-Match` with the version answers 304 while it is the same.
         */
        get: operations["getScimUser"];
        /** Replaces a user */
        put: operations["replaceScimUser"];
        post?: never;
        /** Deletes a user */
        delete: operations["deleteScimUser"];
        options?: never;
        head?: never;
        /**
         * Changes a user
         * @description `active: false` ends sessions, keys and streams of the person within a second. Owners keep their name and address, and the last one stays active.
         */
        patch: operations["patchScimUser"];
        trace?: never;
    };
    "/second-factor": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The page that asks for the second factor */
        get: operations["secondFactorPage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/sign-in": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The page where everybody signs in */
        get: operations["signInPage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/sign-in/{organisation}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The page where the people of one organisation sign in */
        get: operations["organisationSignInPage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/sign-in/{organisation}/ldap/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The page that asks for name and password of a directory */
        get: operations["showLdapSignIn"];
        put?: never;
        /** Signs in with name and password of a directory */
        post: operations["signInByLdap"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/sign-in/{organisation}/oidc/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Sends the browser to an OpenID provider */
        get: operations["startOidcSignIn"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/sign-in/{organisation}/oidc/{id}/callback": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Takes what an OpenID provider sent the browser back with */
        get: operations["finishOidcSignIn"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/sign-in/{organisation}/oidc/{id}/logout": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Ends sessions that an OpenID provider says have ended
         * @description OpenID Connect Back-Channel Logout 1.0. The signed logout token is the credential, and works once.
         */
        post: operations["endOidcSessions"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/sign-in/{organisation}/saml/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Sends the browser to a SAML provider */
        get: operations["startSamlSignIn"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/sign-in/{organisation}/saml/{id}/acs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Assertion consumer service: takes the response of a SAML provider
         * @description Answers a page that posts the same again where the browser has not sent its cookie, which it does not with a form from another site.
         */
        post: operations["finishSamlSignIn"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/sign-in/{organisation}/saml/{id}/logout": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Single logout service, redirect binding
         * @description A signed request ends the sessions it names here and sends the browser back with a signed answer; an answer to a logout begun here goes to the sign-in page.
         */
        get: operations["takeSamlLogout"];
        put?: never;
        /** Single logout service, POST binding */
        post: operations["takePostedSamlLogout"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/sign-in/{organisation}/saml/{id}/metadata": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * HAL9's metadata as a SAML service provider
         * @description The document to enter at the provider. Its address is also the entity id.
         */
        get: operations["getSamlMetadata"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/ui-session": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** To the sign-in page, and from there to the Temporal UI */
        get: operations["showUiSignIn"];
        put?: never;
        /**
         * Exchanges an API key for the cookie of a session and goes to the Temporal UI
         * @description The session may what the key may, and ends with it.
         */
        post: operations["signInToUi"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/ui-session/end": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Ends the session of the cookie */
        post: operations["signOutOfUi"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/anchor-streams": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists streams of anchored hashes by name */
        get: operations["listAnchorStreams"];
        put?: never;
        /** Makes a stream of hashes to anchor */
        post: operations["createAnchorStream"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/anchor-streams/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads a stream of anchored hashes */
        get: operations["getAnchorStream"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/anchor-streams/{id}/batches": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists batches of a stream, newest first */
        get: operations["listAnchorBatches"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/anchor-streams/{id}/hashes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Puts hashes into a stream and has them anchored
         * @description Answers when they are written down. A hash is anchored once in a stream, however often it is put in.
         */
        post: operations["anchorHashes"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/anchor-streams/{id}/proofs/{hash}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Proves that a hash is anchored
         * @description All that is needed to check it without HAL9: `hal9 anchor verify`, or `MemoryAnchor.verify` on the chain.
         */
        get: operations["getAnchorProof"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/api-keys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists API keys, newest first */
        get: operations["listApiKeys"];
        put?: never;
        /**
         * Creates an API key
         * @description The new key cannot grant more than its creator has, a person without conditions, and stops with the person who made it. Its secret is in this answer and nowhere else.
         */
        post: operations["createApiKey"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/api-keys/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads an API key */
        get: operations["getApiKey"];
        put?: never;
        post?: never;
        /**
         * Revokes an API key
         * @description It stops within a second in every process. Revoking again changes nothing.
         */
        delete: operations["revokeApiKey"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/api-keys/{id}/rotate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Replaces an API key
         * @description Answers a new key with the same name, scopes and expiry. The old one works on for `overlapSeconds`, then expires.
         */
        post: operations["rotateApiKey"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists approvals, newest first */
        get: operations["listApprovals"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads an approval */
        get: operations["getApproval"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals/{id}/approve": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Approves
         * @description Needs the permission the approval names, too. An approver answers once; the run that waits has the last word.
         */
        post: operations["approveApproval"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals/{id}/refuse": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Refuses
         * @description Needs the permission the approval names, too. An approver answers once; the run that waits has the last word.
         */
        post: operations["refuseApproval"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit/checkpoints": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists signed checkpoints of the log, latest first */
        get: operations["listAuditCheckpoints"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit/entries": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists acts, latest first */
        get: operations["listAuditEntries"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit/entries/{seq}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads an act with the proof that it is in the log */
        get: operations["getAuditEntry"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Streams the log
         * @description As `verifiable` lines for `hal9 audit verify`, or as JSON lines or CEF for a SIEM. The export is an act itself.
         */
        get: operations["exportAudit"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit/personal-erasures": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Erases addresses, user agents and typed names in the acts of a user
         * @description The acts stay in the log and stay provable.
         */
        post: operations["eraseAuditPersonal"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit/proofs/consistency": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Proves that the log only grew */
        get: operations["proveAuditConsistency"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit/proofs/inclusion": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Proves that an act is in the log */
        get: operations["proveAuditInclusion"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit/public-key": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Reads the keys the log is verified with
         * @description Fetch them once and keep them outside: a log is only as trustworthy as the key it is checked with.
         */
        get: operations["getAuditKeys"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/automations": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists automations by name */
        get: operations["listAutomations"];
        put?: never;
        /**
         * Creates an automation
         * @description Every expression is compiled first. Whoever creates it needs the permission for its effect and becomes its owner.
         */
        post: operations["createAutomation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/automations/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads an automation */
        get: operations["getAutomation"];
        /**
         * Replaces an automation by a new version
         * @description The caller becomes its owner, and a pause ends. With `If-Match: "<version>"` only if nobody changed it meanwhile.
         */
        put: operations["replaceAutomation"];
        post?: never;
        /**
         * Removes an automation
         * @description What it did stays readable for 30 days; what still waited is skipped.
         */
        delete: operations["deleteAutomation"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/automations/{id}/disable": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Switches an automation off */
        post: operations["disableAutomation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/automations/{id}/dry-run": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Shows what an automation would have done with the latest signals it looks at
         * @description Nothing is stored, started or sent, whether or not it is enabled.
         */
        post: operations["dryRunAutomation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/automations/{id}/enable": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Switches an automation on, or ends its pause
         * @description The caller needs the permission for its effect and becomes its owner.
         */
        post: operations["enableAutomation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/automations/{id}/firings": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists what an automation did, newest first */
        get: operations["listAutomationFirings"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/automations/{id}/versions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Lists the versions of an automation, newest first
         * @description At most the latest 200.
         */
        get: operations["listAutomationVersions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/automations/dry-run": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Shows what a draft would have done with the latest signals it looks at
         * @description Nothing is stored, started or sent. Needs the permission to read signals as well, because the answer tells of them.
         */
        post: operations["dryRunAutomationDraft"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/automations/test": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Tries a draft on sample signals
         * @description Nothing is stored, started or sent.
         */
        post: operations["testAutomation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/billing": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The subscription and its invoices */
        get: operations["getBilling"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/billing/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Events of the payment provider
         * @description For the payment provider: signed, and applied once however often it is sent.
         */
        post: operations["receiveBillingEvent"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/billing/subscription": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Subscribes to a plan, or changes to it
         * @description What the organisation may use follows once the payment provider counts the subscription as good.
         */
        put: operations["subscribe"];
        post?: never;
        /** Ends the subscription with what is paid */
        delete: operations["cancelSubscription"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/budgets": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads the spending limits and what is spent of them */
        get: operations["listBudgets"];
        /**
         * Sets the spending limits
         * @description Replaces all limits: what is left out has none. Calls of models reserve their worst case first, so that no number of concurrent signals exceeds a limit; a call without room uses the fallback rules of its neuron.
         */
        put: operations["replaceBudgets"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/chain-networks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists networks of contracts by name */
        get: operations["listChainNetworks"];
        put?: never;
        /**
         * Adds contracts that are on a chain already
         * @description They are asked whether they are what they are said to be. To deploy new ones start the operation `chain-network`.
         */
        post: operations["addChainNetwork"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/chain-networks/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads a network of contracts */
        get: operations["getChainNetwork"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/chain-networks/{id}/accounts/{address}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads an account from the chain: tokens, stakes, rewards, votes, its neuron */
        get: operations["getChainAccount"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/chain-networks/{id}/actions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Stakes, claims, registers neurons, proposes, votes
         * @description Submits the transactions of one action of a signer, and answers when they are written down.
         */
        post: operations["actOnChainNetwork"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/chain-signers": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists signers by name */
        get: operations["listChainSigners"];
        put?: never;
        /**
         * Adds a signer
         * @description The key must be used by HAL9 alone: it gives out the nonces.
         */
        post: operations["createChainSigner"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/chain-signers/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads a signer, and what holds it up */
        get: operations["getChainSigner"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/chain-transactions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists transactions, newest first */
        get: operations["listChainTransactions"];
        put?: never;
        /**
         * Sends a transaction
         * @description Answers when it is written down. It then gets a nonce, is signed, sent, sent again with higher fees where it must be, and followed until it is final; `reference` makes a repeated request the same transaction.
         */
        post: operations["submitChainTransaction"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/chain-transactions/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads a transaction with its signed versions and what happened to it */
        get: operations["getChainTransaction"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/chain-transactions/{id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Cancels a transaction
         * @description At once when it was not sent. Otherwise one of no effect with the same nonce and higher fees takes its place, which may come too late: `outcome` says so. One that left with others goes with its `carrier` only: cancel that to cancel all of them.
         */
        post: operations["cancelChainTransaction"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/chain-transactions/batch": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Sends up to 500 transactions
         * @description All are written down, or none: one that is refused refuses the request, and `errors` names it. Much faster than one request each. A request that is repeated with the same references makes none twice.
         */
        post: operations["submitChainTransactions"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/chains": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists chains by name */
        get: operations["listChains"];
        put?: never;
        /** Adds a chain */
        post: operations["createChain"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/chains/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads a chain */
        get: operations["getChain"];
        /**
         * Changes nodes and policy of a chain
         * @description Counts at once, also for transactions under way.
         */
        put: operations["changeChain"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/compliance": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The controls for SOC 2, ISO 27001 and GDPR, their last evidence, and how much of a period it covers */
        get: operations["getCompliance"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/compliance/{id}/evidence": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Evidence of a control, newest first */
        get: operations["listEvidence"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/connections": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists connections by name */
        get: operations["listConnections"];
        put?: never;
        /**
         * Creates a connection
         * @description Uses it once before saving: signs in to the mail server, lists the models, posts a test event, and so on. One that does not work is not saved; `?test=false` saves it untested.
         */
        post: operations["createConnection"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/connections/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads a connection */
        get: operations["getConnection"];
        /** Replaces the settings of a connection */
        put: operations["replaceConnection"];
        post?: never;
        /**
         * Deletes a connection
         * @description What uses it by name fails from now on. The record of deliveries stays.
         */
        delete: operations["deleteConnection"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/connections/{id}/deliveries": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists deliveries through one connection, newest first */
        get: operations["listConnectionDeliveries"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/connections/{id}/rotate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Exchanges secrets of a connection
         * @description The settings that are sent replace theirs, the others stay. Calls under way end with the old ones. An empty body seals the same settings with the current master key.
         */
        post: operations["rotateConnection"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/connections/{id}/test": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Tests a connection now */
        post: operations["testConnection"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/consensus": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists rounds of consensus, newest first */
        get: operations["listConsensus"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/consensus/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads a round of consensus with its votes, as the chain has them */
        get: operations["getConsensus"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/consents": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Records that a person gave or withdrew a consent
         * @description Records are only added; the last one of a subject and a purpose counts, from this answer on. The subject is kept as a keyed hash, the proof as its SHA-256. With `identities` the decision is carried into the declared sources as well.
         */
        post: operations["recordConsent"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/consents/check": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Whether a person consents to a purpose now */
        post: operations["checkConsent"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/consents/purposes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** How many people consent to what */
        get: operations["listConsentPurposes"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/consents/query": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Everything recorded about a person */
        post: operations["queryConsents"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/contents": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists content, newest first */
        get: operations["listContents"];
        put?: never;
        /**
         * Keeps content, sealed, with every provider of IPFS
         * @description Up to 100 MB (100,000,000 bytes). Providers are the connections of the kinds `ipfs` and `pinning`; without one of kind `ipfs` HAL9 keeps it itself. Answered once one at least keeps all of it.
         */
        post: operations["addContent"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/contents/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Says who keeps content */
        get: operations["getContent"];
        put?: never;
        post?: never;
        /**
         * Removes content
         * @description Providers that do not answer now may go on keeping what is sealed.
         */
        delete: operations["removeContent"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/contents/{id}/bytes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Reads content
         * @description Each block comes from a provider that has it and is checked; an answer that breaks off is not whole, and shorter than its Content-Length.
         */
        get: operations["readContent"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/contents/{id}/repair": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Has providers keep content again that lost it
         * @description Looks at every provider, also those whose connection was made since.
         */
        post: operations["repairContent"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/dead-letters": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists what could not be worked off, newest first */
        get: operations["listDeadLetters"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/dead-letters/{id}/replay": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Sends the signal behind a dead letter in again
         * @description It passes all layers again, under its old id and past the deduplication. A letter can be replayed once; a signal that fails again leaves a new one.
         */
        post: operations["replayDeadLetter"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/decisions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists decisions, newest first */
        get: operations["listDecisions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/decisions/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads a decision */
        get: operations["getDecision"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/endpoint-deliveries": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Lists messages to outgoing webhooks, newest first
         * @description Kept for 30 days.
         */
        get: operations["listEndpointDeliveries"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/endpoint-deliveries/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads a message with every attempt to deliver it */
        get: operations["getEndpointDelivery"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/endpoint-deliveries/{id}/redeliver": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Delivers a message once more
         * @description From the beginning of the schedule, under the same `webhook-id`.
         */
        post: operations["redeliverToEndpoint"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/factors": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists your second factors */
        get: operations["listFactors"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/factors/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Removes a second factor */
        delete: operations["removeFactor"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/factors/passkey": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Adds the passkey or security key */
        post: operations["finishPasskey"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/factors/passkey/begin": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Begins to add a passkey or security key */
        post: operations["beginPasskey"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/factors/recovery-codes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Makes new recovery codes; the old ones stop working */
        post: operations["renewRecoveryCodes"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/factors/totp": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Adds the authenticator app, once a code shows that it has the secret */
        post: operations["finishTotp"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/factors/totp/begin": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Begins to add an authenticator app */
        post: operations["beginTotp"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/features": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Says which features are on for the caller
         * @description A team has the toggles of the teams above where it says nothing itself; of several teams one that has it is enough. Empty for keys.
         */
        get: operations["listFeatures"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/health/components": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * How each component is, what it rests on, and the latest recoveries
         * @description Components of the platform, its background processes and host agents by their heartbeats, and the caller's own organisation's connections (their last test or use) and neurons that call out (their circuit breakers).
         */
        get: operations["listHealthComponents"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/hooks/{hookId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Answers the GET by which some providers check an address */
        get: operations["answerWebhookHandshake"];
        put?: never;
        /**
         * Takes a delivery of a provider in
         * @description Open to anybody who can prove to be the sender: by the signature its preset asks for, over the bytes of the body. 202 means its signals are committed; the same delivery counts once.
         */
        post: operations["receiveWebhook"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/identity-providers": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists identity providers by name */
        get: operations["listIdentityProviders"];
        put?: never;
        /**
         * Adds an identity provider
         * @description Tests it before saving: reads the discovery document and keys of an OpenID provider, binds the service account of a directory. One that does not work is not saved; `?test=false` saves it untested. The kinds `okta`, `entra-id`, `google` and `active-directory` fill in and check what is special to them.
         */
        post: operations["createIdentityProvider"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/identity-providers/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads an identity provider */
        get: operations["getIdentityProvider"];
        put?: never;
        post?: never;
        /**
         * Deletes an identity provider
         * @description The people stay; who only signed in by it cannot any more, and the roles that its groups gave are taken. Refused when no owner could sign in any more.
         */
        delete: operations["deleteIdentityProvider"];
        options?: never;
        head?: never;
        /**
         * Changes an identity provider
         * @description What is left out stays. Changed settings are tested before they are saved. `enabled: false` ends sign-ins by it and, within a second, the sessions that came from it; it is refused when no owner could sign in any more.
         */
        patch: operations["changeIdentityProvider"];
        trace?: never;
    };
    "/v1/identity-providers/{id}/domains": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists the e-mail domains that lead to a provider */
        get: operations["listIdentityProviderDomains"];
        put?: never;
        /**
         * Claims an e-mail domain for a provider
         * @description It counts once an administrator of the platform has confirmed that the domain is the organisation's.
         */
        post: operations["claimIdentityProviderDomain"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/identity-providers/{id}/domains/{domain}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Gives up a claim to an e-mail domain */
        delete: operations["releaseIdentityProviderDomain"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/identity-providers/{id}/test": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Tests an identity provider now */
        post: operations["testIdentityProvider"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/incidents": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Lists incidents, latest change first
         * @description What correlators opened: emissions of type `hal9.incident`, gathered by `data.incidentId`.
         */
        get: operations["listIncidents"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/invitations": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists invitations, newest first */
        get: operations["listInvitations"];
        put?: never;
        /**
         * Invites somebody
         * @description By mail when `connection` names one of kind smtp, else by the link in this answer. It gives no more than you have, and works once.
         */
        post: operations["createInvitation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/invitations/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads an invitation */
        get: operations["getInvitation"];
        put?: never;
        post?: never;
        /**
         * Revokes an invitation
         * @description Its link does nothing from now on. Again changes nothing.
         */
        delete: operations["revokeInvitation"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/mcp": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Takes a message of the Model Context Protocol
         * @description Streamable HTTP of https://modelcontextprotocol.io, answered as JSON; no session is kept and nothing is streamed from here. Tools work a browser and start and read runs; each asks for the permission that its route asks for. `hal9 mcp` is the same over standard input.
         */
        post: operations["postMcpMessage"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/memories": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Remembers something
         * @description Neurons do the same with a decision that starts the operation `memory`.
         */
        post: operations["rememberMemory"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/memories/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Reads a memory
         * @description With the sealed content, whose SHA-256 is the digest that is anchored.
         */
        get: operations["getMemory"];
        put?: never;
        post?: never;
        /**
         * Forgets a memory
         * @description Its digest stays anchored, and says nothing of it.
         */
        delete: operations["forgetMemory"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/memories/recall": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Recalls memories, newest first */
        post: operations["recallMemories"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/neurons": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists neurons by name */
        get: operations["listNeurons"];
        put?: never;
        /**
         * Creates a neuron
         * @description Every expression is compiled first. Whoever creates a neuron whose decisions start an operation needs the permission to start it.
         */
        post: operations["createNeuron"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/neurons/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads a neuron */
        get: operations["getNeuron"];
        /**
         * Replaces a neuron by a new version
         * @description With `If-Match: "<version>"` only if nobody changed it meanwhile.
         */
        put: operations["replaceNeuron"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /**
         * Changes parts of a neuron
         * @description A JSON merge patch (RFC 7396). With `If-Match: "<version>"` only if nobody changed it meanwhile.
         */
        patch: operations["changeNeuron"];
        trace?: never;
    };
    "/v1/neurons/{id}/disable": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Switches a neuron off */
        post: operations["disableNeuron"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/neurons/{id}/enable": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Switches a neuron on */
        post: operations["enableNeuron"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/neurons/{id}/test": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Tries a stored neuron on sample signals
         * @description From nothing: the state it has gathered is neither used nor changed.
         */
        post: operations["testNeuron"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/neurons/{id}/versions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Lists the versions of a neuron, newest first
         * @description At most the latest 200.
         */
        get: operations["listNeuronVersions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/neurons/test": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Tries a neuron on sample signals
         * @description Nothing is stored, started or called.
         */
        post: operations["testNeuronDraft"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/notifications": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists deliveries, newest first */
        get: operations["listNotifications"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/organisations": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Lists the organisation and all below it, oldest first
         * @description `parentId` says how they stand. The organisation that runs the installation sees all there are.
         */
        get: operations["listOrganisations"];
        put?: never;
        /**
         * Creates an organisation below
         * @description People of yours with a role that reaches down, as owners have, act in it at once and invite its own owner.
         */
        post: operations["createOrganisation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/organisations/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads an organisation */
        get: operations["getOrganisation"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /** Renames an organisation, or changes its slug or region */
        patch: operations["changeOrganisation"];
        trace?: never;
    };
    "/v1/organisations/{id}/domains/{domain}/confirm": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Confirms an organisation's claim to an e-mail domain
         * @description For administrators of the platform, who have made sure that the domain is the organisation's.
         */
        post: operations["confirmDomain"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/organisations/{id}/move": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Puts an organisation below another
         * @description With everything below it. Who reaches it from above changes within a second.
         */
        post: operations["moveOrganisation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/organisations/{id}/resume": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Resumes a suspended organisation */
        post: operations["resumeOrganisation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/organisations/{id}/suspend": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Suspends an organisation below
         * @description No session, key or sign-in of it or of those below it works until it is resumed. Runs under way go on.
         */
        post: operations["suspendOrganisation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/plans": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The plans with their quotas and limits */
        get: operations["listPlans"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/platform/organisations/{organisation}/plan": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The plan of an organisation
         * @description For the organisation that runs the installation only.
         */
        get: operations["getOrganisationPlan"];
        /**
         * Sets the plan of an organisation
         * @description For the organisation that runs the installation only. Overrides replace those before; null lifts a limit. Takes effect within a second; what is over a new limit stays, and nothing more comes.
         */
        put: operations["setOrganisationPlan"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/platform/usage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * A month of every organisation
         * @description For the organisation that runs the installation only.
         */
        get: operations["listPlatformUsage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/privacy/changes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists changes of people's data */
        get: operations["listPrivacyChanges"];
        put?: never;
        /**
         * Corrects a person's data everywhere, or restricts what may be done with them
         * @description Writes the request down without naming anybody or any value, and starts a run that finds the person in every source, writes, and reads again. While processing is restricted the person is neither erased nor swept by retention.
         */
        post: operations["requestPrivacyChange"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/privacy/changes/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads how a change stands */
        get: operations["getPrivacyChange"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/privacy/changes/{id}/resume": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Has a change try again at once
         * @description Starts its run where there is none.
         */
        post: operations["resumePrivacyChange"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/privacy/erasures": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists erasures */
        get: operations["listErasures"];
        put?: never;
        /**
         * Forgets a person
         * @description Writes the request down without naming anybody, and starts a run that rehearses it in every source, asks people where the policy says so, erases, looks again and hands out a receipt.
         */
        post: operations["requestErasure"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/privacy/erasures/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads how an erasure stands */
        get: operations["getErasure"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/privacy/erasures/{id}/receipt": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads the receipt of an erasure */
        get: operations["getErasureReceipt"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/privacy/erasures/{id}/resume": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Has an erasure try again at once
         * @description After what stood in the way was mended. Starts the run where there is none.
         */
        post: operations["resumeErasure"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/privacy/exports": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists access exports */
        get: operations["listAccessExports"];
        put?: never;
        /**
         * Hands a person all that is held of them
         * @description Starts a run that looks into every source an erasure would look into and puts what it finds into an archive (JSON, CSV, an index to read), encrypted to the person. Half an answer is none: it waits for sources that do not answer.
         */
        post: operations["requestAccessExport"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/privacy/exports/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads how an access export stands */
        get: operations["getAccessExport"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/privacy/exports/{id}/link": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Makes a link to an access export, for the person
         * @description Good for a day, and no longer than the export. Whoever follows it gets the encrypted archive; each time is in the audit log.
         */
        post: operations["linkAccessExport"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/privacy/exports/{id}/resume": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Has an access export try again at once
         * @description Starts its run where there is none.
         */
        post: operations["resumeAccessExport"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/privacy/holds": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists legal holds */
        get: operations["listLegalHolds"];
        put?: never;
        /** Keeps a person or a table from being erased */
        post: operations["placeLegalHold"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/privacy/holds/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads a legal hold */
        get: operations["getLegalHold"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/privacy/holds/{id}/release": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Releases a legal hold
         * @description Erasures that waited for it go on within a day, or at once when they are resumed.
         */
        post: operations["releaseLegalHold"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/privacy/policy": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads who must agree to erasures, and by when they must be done */
        get: operations["getPrivacyPolicy"];
        /**
         * Says who must agree to erasures, and by when they must be done
         * @description Holds for erasures asked for from now on.
         */
        put: operations["setPrivacyPolicy"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/privacy/retention-reports": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists reports of retention runs */
        get: operations["listRetentionReports"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/privacy/retention-reports/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Reads what a retention run counted and deleted
         * @description The id is that of the run: `retention~<id>`.
         */
        get: operations["getRetentionReport"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/privacy/sources": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists the systems that hold data of people */
        get: operations["listPrivacySources"];
        put?: never;
        /**
         * Declares a system that holds data of people
         * @description The annotations are checked against the live schema before each erasure, not here.
         */
        post: operations["createPrivacySource"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/privacy/sources/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads a source */
        get: operations["getPrivacySource"];
        put?: never;
        post?: never;
        /** Forgets a source; its data stays where it is */
        delete: operations["deletePrivacySource"];
        options?: never;
        head?: never;
        /** Changes address or annotations of a source */
        patch: operations["changePrivacySource"];
        trace?: never;
    };
    "/v1/privacy/tasks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists what people must do by hand for erasures and changes */
        get: operations["listPrivacyTasks"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/privacy/tasks/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads what is to be done by hand */
        get: operations["getPrivacyTask"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/privacy/tasks/{id}/end": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Says that a task is done, or why not
         * @description Its erasure or change looks again at once. That is not complete while a task is open or refused; a refused one may be taken again.
         */
        post: operations["endPrivacyTask"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/privacy/tasks/{id}/take": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Takes a task over, and answers who it is about
         * @description The audit log says who was told.
         */
        post: operations["takePrivacyTask"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/remediation-actions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Lists what host agents did, newest first
         * @description Every action of a remedy: what was asked of which machine, for which incident, and what came of it. Refused ones are among them.
         */
        get: operations["listRemediationActions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/role-bindings": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists who has which role, newest first */
        get: operations["listRoleBindings"];
        put?: never;
        /**
         * Gives a user or a team a role
         * @description Under conditions, if any: time, network, risk, attributes of the resource. Nobody gives more than they have.
         */
        post: operations["createRoleBinding"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/role-bindings/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads a binding */
        get: operations["getRoleBinding"];
        /** Replaces the conditions of a binding */
        put: operations["replaceRoleBinding"];
        post?: never;
        /**
         * Takes a role from a user or a team
         * @description Within a second in every process. The last owner stays.
         */
        delete: operations["deleteRoleBinding"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/roles": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Lists roles
         * @description Those of HAL9 from the smallest up, then the organisation's own by name.
         */
        get: operations["listRoles"];
        put?: never;
        /**
         * Creates a role
         * @description It cannot grant more than you have whenever and from wherever you ask.
         */
        post: operations["createRole"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/roles/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads a role */
        get: operations["getRole"];
        /**
         * Replaces a role
         * @description For everybody who has it, within a second. HAL9's own roles stay as they are.
         */
        put: operations["replaceRole"];
        post?: never;
        /**
         * Deletes a role
         * @description Not while somebody has it or another role inherits it.
         */
        delete: operations["deleteRole"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/rollouts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists rollouts with where each service stands, newest first */
        get: operations["listRollouts"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/rollouts/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads a rollout: its services, what was done to each, and the share of the traffic since */
        get: operations["getRollout"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/rollouts/{id}/verdicts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Lists the verdicts of a rollout with what each rests on, newest first
         * @description Each has the queries that were asked, the samples that were answered (the newest 60 of each), the statistic and the threshold.
         */
        get: operations["listRolloutVerdicts"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/rollouts/import": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Turns specs of Argo Rollouts or Flagger into inputs of the operation `rollout`
         * @description Answers one input for each `Rollout` or `Canary`, and lists every field that could not be carried over as it is. Nothing is kept and nothing is started.
         */
        post: operations["importRollouts"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists runs, newest first */
        get: operations["listRuns"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads a run: state, progress, what it waits for */
        get: operations["getRun"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/browser-evidence": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Streams what the browser session of a run did as one archive
         * @description A page to look at (`index.html`), the steps for programs (`steps.ndjson`), the session (`session.json`), a picture of each step and pages in words. Shows what pages showed, so it needs the permission to decrypt; each export is in the audit log.
         */
        get: operations["exportBrowserEvidence"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/browser-hand-back": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Gives a browser session back that was taken over
         * @description What was done to the page is checkpointed, and the flow goes on from there.
         */
        post: operations["handBackBrowser"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/browser-healings": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists the steps of a browser session whose element was found another way than the first */
        get: operations["listBrowserHealings"];
        put?: never;
        /**
         * Answers the flow of a run with the ways first that found their elements
         * @description Shows the input of the run, so it needs the permission to decrypt. The run itself is left as it is: start the next with the changed flow.
         */
        post: operations["acceptBrowserHealings"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/browser-steps": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists what the browser session of a run did, in order */
        get: operations["listBrowserSteps"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/browser-steps/{seq}/picture": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The picture of the page after a step
         * @description Shows what the page showed, so it needs the permission to decrypt; each look is in the audit log.
         */
        get: operations["getBrowserPicture"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/browser-steps/{seq}/snapshot": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The page after a step in words
         * @description Roles, names and texts as assistive technology has them, without what stands in password fields and what came from the vault. Shows what the page showed, so it needs the permission to decrypt; each look is in the audit log.
         */
        get: operations["getBrowserSnapshot"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/browser-take-over": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Takes a browser session over, and opens its live page
         * @description For runs of `browser` and `browser-session`, at any moment. The flow stops before its next step; from then on mouse and keys go to the page of the link, until the session is handed back or the deadline. Permissions as of its live page.
         */
        post: operations["takeOverBrowser"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/browser-turns": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Tells an interactive browser session its next step, and answers what the page shows
         * @description For runs of `browser-session`. A step that fails is an answer with a `failure`: the session goes on. When the answer takes too long (504) send the same `id` again. The run ends by its update `end`, or after `idleMinutes` without a turn.
         */
        post: operations["takeBrowserTurn"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Asks a run to stop; it cleans up first */
        post: operations["cancelRun"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/history": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads what a run did, step by step */
        get: operations["getRunHistory"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/live-views": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Opens the live page of a browser session, and a link to it
         * @description The link shows the page for fifteen minutes to whoever has it. While the session waits for a person, mouse and keys go to the page: send it only to them. Needs the permission to decrypt, and to send messages to the run.
         */
        post: operations["openLiveView"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/pause": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Holds a run before its next step
         * @description What runs already ends, timers go on, messages are answered, and a cancellation is obeyed.
         */
        post: operations["pauseRun"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/queries/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Asks a run; changes nothing */
        post: operations["queryRun"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/recording": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Reads the history of a run as replay tests keep it
         * @description As Temporal has it, with payloads decrypted. `hal9 record` writes it to a file that `hal9 check` replays. Needs the permission `codec:decode` too: keep runs with test data only.
         */
        get: operations["getRunRecording"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/replay": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Begins a run again from one of its steps
         * @description Ask with `dryRun` first: the answer lists the steps that happened and would happen again. Signals since the step are sent again; updates, such as approvals, and cancellations are not.
         */
        post: operations["replayRun"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/result": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads the result of a run, waiting for its end if asked to */
        get: operations["getRunResult"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/resume": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Lets a paused run go on
         * @description A run that was not paused is left as it is.
         */
        post: operations["resumeRun"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/retry": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Starts a run with the input of one that has ended */
        post: operations["retryRun"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/signals/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Sends a signal to a run */
        post: operations["signalRun"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/stream": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Streams what happens to a run until it ends
         * @description Server-sent events: `started`, `progress`, `paused`, `resumed`, `retried`, `replayed` and last `closed`, each with the number of the event as its id. A client that comes back with `Last-Event-ID` gets what it missed; 204 says that there is nothing more to come. A comment every 15 seconds keeps the connection.
         */
        get: operations["streamRun"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/terminate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Ends a run at once, without cleaning up */
        post: operations["terminateRun"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/trace": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Shows what led to a run and what came of it as a tree
         * @description From the caller, schedule, webhook or signal that began it, through automations and decisions, down to the run; below it its steps, the approvals it waited for, the runs it led to, and the messages that went out. Read from the read model, so a running one may be some hundred milliseconds behind. What the caller may not read keeps its place without its name.
         */
        get: operations["traceRun"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{id}/updates/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Changes a run and waits for its answer
         * @description The run may refuse: then nothing was changed and the failure is `UpdateRejected`.
         */
        post: operations["updateRun"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/bulk": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Acts on many runs, by their ids or by what they have in common
         * @description The runs are chosen now and worked off by a run of `bulk`, so many a second. The report says what became of each.
         */
        post: operations["actOnRuns"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/bulk/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads how far a bulk action is */
        get: operations["getBulkAction"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/bulk/{id}/items": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists what became of each run of a bulk action */
        get: operations["listBulkItems"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/failures": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Groups failed runs by operation and type of failure, the latest first */
        get: operations["listRunFailures"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/schedules": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists schedules by name */
        get: operations["listSchedules"];
        put?: never;
        /**
         * Creates a schedule
         * @description Whoever creates it needs the permission for what it starts and becomes its owner.
         */
        post: operations["createSchedule"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/schedules/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads a schedule with its next fire times */
        get: operations["getSchedule"];
        /**
         * Replaces a schedule
         * @description The caller becomes its owner; a pause by HAL9 ends, one by a person stays. With `If-Match: "<version>"` only if nobody changed it meanwhile.
         */
        put: operations["replaceSchedule"];
        post?: never;
        /**
         * Removes a schedule
         * @description Runs it started go on.
         */
        delete: operations["deleteSchedule"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/schedules/{id}/backfill": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Makes up for a span that has passed
         * @description Fires once for every time of the span, oldest first.
         */
        post: operations["backfillSchedule"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/schedules/{id}/firings": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists what a schedule did, newest first */
        get: operations["listScheduleFirings"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/schedules/{id}/pause": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Pauses a schedule
         * @description Open runs go on. The note stays in HAL9.
         */
        post: operations["pauseSchedule"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/schedules/{id}/trigger": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Fires a schedule now
         * @description With the rights of its owner, paused or not, whatever its limit.
         */
        post: operations["triggerSchedule"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/schedules/{id}/unpause": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Lets a paused schedule go on
         * @description The caller needs the permission for what it starts and becomes its owner. What was due meanwhile is not made up for; see backfill.
         */
        post: operations["unpauseSchedule"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/session": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Tells who is signed in here, and the token that requests by cookie need */
        get: operations["getSession"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/session/end": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Signs out here */
        post: operations["signOut"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/session/end-at-provider": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Signs out here, and says where to sign out at the provider */
        post: operations["signOutAtProvider"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/session/password": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Changes your password
         * @description All your other sessions end.
         */
        put: operations["changePassword"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/session/proof": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Tells by what you can prove again who you are */
        get: operations["getProofs"];
        put?: never;
        /**
         * Proves again who you are, for what is sensitive
         * @description Counts for 10 minutes. A second factor where you have one, else the password.
         */
        post: operations["proveAgain"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sessions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists your open sessions, newest first */
        get: operations["listSessions"];
        put?: never;
        post?: never;
        /** Ends all your sessions but this one */
        delete: operations["endOtherSessions"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sessions/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Ends one of your sessions */
        delete: operations["endSession"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sign-in-policy": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads how people of the organisation may sign in */
        get: operations["getSignInPolicy"];
        /** Says how people of the organisation may sign in */
        put: operations["putSignInPolicy"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sign-in/forgotten": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Asks for a mail by which a forgotten password is set anew
         * @description The answer is the same whoever was named. Mail goes to a confirmed address only; the link in it works once, within an hour.
         */
        post: operations["requestPasswordReset"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sign-in/invitation": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Tells what an invitation is for */
        post: operations["openInvitation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sign-in/invitation/accept": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Makes the account an invitation is for, and signs in */
        post: operations["acceptInvitation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sign-in/key": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Opens a browser session of an API key */
        post: operations["signInByKey"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sign-in/organisations": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Tells which organisation the people of an e-mail domain are of */
        get: operations["findSignInOrganisation"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sign-in/organisations/{organisation}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Tells how people of an organisation sign in */
        get: operations["getSignInOffer"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sign-in/passkey": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Signs in with a passkey, which is both factors at once */
        post: operations["signInByPasskey"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sign-in/passkey/begin": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Asks for a passkey */
        post: operations["beginPasskeySignIn"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sign-in/password": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Signs in with user name and password
         * @description Wrong name, wrong password and unknown organisation are answered alike. Failures are counted by account and address, across all processes.
         */
        post: operations["signInByPassword"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sign-in/reset": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Sets a new password by a link from a mail or an administrator */
        post: operations["resetPassword"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sign-in/second-factor": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Tells which second factors the sign-in under way may show */
        get: operations["getFactorsOwed"];
        put?: never;
        /** Shows the second factor and finishes the sign-in */
        post: operations["signInBySecondFactor"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sign-in/second-factor/passkey": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Adds the passkey and finishes the sign-in */
        post: operations["finishFirstPasskey"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sign-in/second-factor/passkey/begin": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Begins to add a passkey on the way in */
        post: operations["beginFirstPasskey"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sign-in/second-factor/totp": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Adds the authenticator app and finishes the sign-in */
        post: operations["finishFirstTotp"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sign-in/second-factor/totp/begin": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Begins to add an authenticator app on the way in */
        post: operations["beginFirstTotp"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/signals": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Lists signals, latest arrival first
         * @description A page may hold fewer signals than `limit`, or none, and still have a `nextCursor`: a page looks at 20,000 signals at most.
         */
        get: operations["listSignals"];
        put?: never;
        /**
         * Takes in signals: one, a batch, or a stream of lines
         * @description CloudEvents 1.0 in binary (`ce-` headers), structured or batched mode, or plain JSON (an object or an array), where `specversion` may be left out; or NDJSON, one signal a line. A signal without `time` gets the time of receipt. 202 means committed. A signal with a (source, id) that was accepted within the dedup window counts as a duplicate. In batches and streams the good signals go in and the bad ones are named by line. With `wait=true` a single signal is answered by its decision.
         */
        post: operations["sendSignals"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/signals/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Reads a signal and how far it is
         * @description By the id in its receipt, for as long as the dedup window lasts.
         */
        get: operations["getSignal"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/signals/{id}/trace": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Shows the way of a signal through the layers as a tree
         * @description Emissions that rest on it, in whatever batch a correlator made them; delegations downwards and what followed; decisions with reason, cost and duration; the runs they started. In `tree` also what automations did, the steps of runs, approvals, and messages that went out.
         */
        get: operations["traceSignal"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sources": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists sources by name */
        get: operations["listSources"];
        put?: never;
        /**
         * Creates a source
         * @description Its messages become signals of the source `/sources/{id}` within seconds.
         */
        post: operations["createSource"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sources/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads a source and how it stands */
        get: operations["getSource"];
        /**
         * Replaces a source
         * @description Its consumer begins anew. With `If-Match: "<version>"` only if nobody changed it meanwhile.
         */
        put: operations["replaceSource"];
        post?: never;
        /**
         * Removes a source and its dead letters
         * @description Messages that were not acknowledged stay in the queue.
         */
        delete: operations["deleteSource"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sources/{id}/dead-letters": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists messages that were no signals, newest first */
        get: operations["listSourceDeadLetters"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sources/{id}/dead-letters/{letterId}/replay": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Takes a dead letter in with the mapping of today */
        post: operations["replaySourceDeadLetter"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/statements": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Statements of closed months, newest first */
        get: operations["listStatements"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/statements/{month}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The statement of a month
         * @description Of a month that is over it never changes: each is chained to the one before by its hash. Of the running month it shows how it stands.
         */
        get: operations["getStatement"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/teams": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists teams, oldest first */
        get: operations["listTeams"];
        put?: never;
        /** Creates a team */
        post: operations["createTeam"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/teams/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads a team */
        get: operations["getTeam"];
        put?: never;
        post?: never;
        /**
         * Deletes a team
         * @description Its members stay, without what they had by it. Not while teams stand below it.
         */
        delete: operations["deleteTeam"];
        options?: never;
        head?: never;
        /**
         * Changes a team
         * @description Only what is given. Moving it changes what its members may.
         */
        patch: operations["changeTeam"];
        trace?: never;
    };
    "/v1/teams/{id}/members": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists the members of a team */
        get: operations["listTeamMembers"];
        put?: never;
        /**
         * Adds and removes members of a team
         * @description In one step. Nobody adds to a team that has more than they.
         */
        post: operations["changeTeamMembers"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/teams/{id}/shares": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists what a team was given */
        get: operations["listTeamShares"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/teams/{id}/shares/{kind}/{resourceId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Gives a team one resource
         * @description Its members and those of teams below it may read it, or also change it. You must have it yourself.
         */
        put: operations["shareWithTeam"];
        post?: never;
        /** Takes a resource from a team */
        delete: operations["unshareWithTeam"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tokens": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Exchanges an API key for a short token
         * @description The key comes as in every request, or as an OAuth 2.0 client credentials grant (RFC 6749, 4.4): a form, the client id the key's prefix, the secret the whole key, by HTTP Basic or in the form. The token allows what the key allows or the part of it that `scope` names, and ends with the key.
         */
        post: operations["issueToken"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/usage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Use over time, by meter and step
         * @description Counts up to this moment. Spans reach 32 days by hour, 400 by day, ten years by month.
         */
        get: operations["listUsage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/usage/summary": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The running month against the quotas of the plan */
        get: operations["getUsageSummary"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/users": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists users, oldest first */
        get: operations["listUsers"];
        put?: never;
        /**
         * Creates a user
         * @description Without a password and without roles: an invitation with `userId` lets them choose one, or they sign in by an identity provider.
         */
        post: operations["createUser"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/users/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads a user */
        get: operations["getUser"];
        put?: never;
        post?: never;
        /**
         * Deletes a user
         * @description With their memberships, roles, sessions and keys. What they did stays in the audit log by their id. The last owner stays.
         */
        delete: operations["deleteUser"];
        options?: never;
        head?: never;
        /**
         * Changes a user
         * @description Only what is given. A new address is unverified. Nobody changes a person who may do more than they.
         */
        patch: operations["changeUser"];
        trace?: never;
    };
    "/v1/users/{id}/activate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Activates a user again
         * @description Keys they had stay revoked.
         */
        post: operations["activateUser"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/users/{id}/deactivate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Deactivates a user
         * @description Their sessions and API keys stop within a second in every process, and invitations they sent are revoked. The last owner stays.
         */
        post: operations["deactivateUser"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/users/{id}/factors": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Removes every second factor of a user who lost them */
        delete: operations["removeUserFactors"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/users/{id}/impersonate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Acts as a user
         * @description For people in a browser: their session becomes one as the user, for an hour at most or until they sign out. It may do what both may; every act in it names both. Nobody acts as an owner, or as who may do more.
         */
        post: operations["impersonateUser"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/users/{id}/password-reset": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Makes a link by which a user sets a new password
         * @description Works once, within an hour. Pass it on by a way that only the user reads. Second factors stay.
         */
        post: operations["createPasswordReset"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/users/{id}/sessions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists the open sessions of a user, newest first */
        get: operations["listUserSessions"];
        put?: never;
        post?: never;
        /** Ends all sessions of a user, in every process within a second */
        delete: operations["endUserSessions"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/webhook-deliveries": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Lists what inbound webhooks were sent, newest first
         * @description Kept for 7 days.
         */
        get: operations["listWebhookDeliveries"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/webhook-deliveries/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads a delivery to an inbound webhook */
        get: operations["getWebhookDelivery"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/webhook-deliveries/{id}/replay": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Takes a delivery in once more
         * @description One that was refused or failed is proved again, with the secrets of today as of the time it came. One that was accepted goes in under new ids, so that what it sets off happens again.
         */
        post: operations["replayWebhookDelivery"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/webhook-endpoints": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists outgoing webhooks by name */
        get: operations["listWebhookEndpoints"];
        put?: never;
        /**
         * Creates an outgoing webhook
         * @description Messages are signed as Standard Webhooks say. The secret is in this answer and nowhere else.
         */
        post: operations["createWebhookEndpoint"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/webhook-endpoints/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads an outgoing webhook */
        get: operations["getWebhookEndpoint"];
        /** Changes an outgoing webhook, and closes its circuit */
        put: operations["changeWebhookEndpoint"];
        post?: never;
        /** Removes an outgoing webhook with its messages */
        delete: operations["deleteWebhookEndpoint"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/webhook-endpoints/{id}/ping": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Sends a test message
         * @description A message of type `hal9.ping` goes the ordinary way, signature and retries included.
         */
        post: operations["pingWebhookEndpoint"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/webhook-endpoints/{id}/rotate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Gives an outgoing webhook a new secret
         * @description Messages are signed with both for `overlapSeconds`, so that the receiver can change over at any time within it.
         */
        post: operations["rotateWebhookEndpointSecret"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/webhooks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists inbound webhooks by name */
        get: operations["listWebhooks"];
        put?: never;
        /**
         * Creates an inbound webhook
         * @description Answers its address and its secret; the secret is in this answer and nowhere else.
         */
        post: operations["createWebhook"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/webhooks/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads an inbound webhook */
        get: operations["getWebhook"];
        /** Changes an inbound webhook */
        put: operations["changeWebhook"];
        post?: never;
        /** Removes an inbound webhook */
        delete: operations["deleteWebhook"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/webhooks/{id}/rotate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Gives an inbound webhook a new secret
         * @description The old one is accepted beside it for `overlapSeconds`.
         */
        post: operations["rotateWebhookSecret"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workflows": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists the operations this server knows, with their schemas */
        get: operations["listWorkflows"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workflows/{type}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Describes one operation */
        get: operations["getWorkflow"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workflows/{type}/runs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Starts a run of an operation
         * @description With an `Idempotency-Key` header the same key and body start one run only, however often they are sent, and `Idempotency-Replayed` says whether this was a repetition. With `Prefer: wait=<seconds>` the answer waits for the end. A `traceparent` header makes the run part of that trace.
         */
        post: operations["startRun"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workflows/anchor/runs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Anchor what waits in a stream on its chain
         * @description Makes batches of up to 10,000 hashes, a Merkle tree each, and writes their roots into MemoryAnchor, one transaction a batch. A stream of the audit log takes its newest checkpoint first, one of memory what was remembered since; a schedule of this operation anchors them regularly. One run a stream: a start while one works joins it.
         *
         *     The result's schema, the messages and the failures of its own are in `GET /v1/workflows/anchor`.
         */
        post: operations["startAnchor"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workflows/browser-session/runs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * A browser that takes one step after the other as it is told, surviving the death of browser and worker
         * @description An interactive session: steps come one by one, over `POST /v1/runs/{id}/browser-turns` or the tools of the MCP server. Each goes through the same journal, guards, proxy and limits as those of a flow; a step that fails is answered, and the session goes on.
         *
         *     The result's schema, the messages and the failures of its own are in `GET /v1/workflows/browser-session`.
         */
        post: operations["startBrowserSession"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workflows/browser/runs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Work through a web site in a real browser, surviving the death of browser and worker
         * @description Takes the steps of a flow in a Chromium of a browser worker. Cookies, storage, tabs and the place in the flow are checkpointed, sealed, at every navigation and side effect: when browser or worker die, another worker goes on, signed in, and a step with a guard is never done twice. What pages may reach is decided by a proxy outside of the page.
         *
         *     The result's schema, the messages and the failures of its own are in `GET /v1/workflows/browser`.
         */
        post: operations["startBrowser"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workflows/chain-network/runs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Deploy the contracts neurons vote, stake and are paid by
         * @description Deploys token, registry, market, anchors, governance and its timelock through the sender, gives them their roles, and hands them over to the timelock. Each transaction is sent once, whatever is killed meanwhile.
         *
         *     The result's schema, the messages and the failures of its own are in `GET /v1/workflows/chain-network`.
         */
        post: operations["startChainNetwork"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workflows/compliance-evidence/runs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Collect evidence of the controls
         * @description Asks the database what it can show of each control (SOC 2, ISO 27001, GDPR) and keeps the answers, chained by hash. HAL9 starts it every day for every organisation; start it by hand after mending something.
         *
         *     The result's schema, the messages and the failures of its own are in `GET /v1/workflows/compliance-evidence`.
         */
        post: operations["startComplianceEvidence"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workflows/consensus/runs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Have several neurons compute a result, judged and paid on a chain
         * @description Opens a request with its payment in escrow; neurons compute independently, commit and reveal (or sign, in the off-chain mode), are counted, may be challenged, and are paid or slashed. Each step follows from what the chain says, so a reorganisation of any depth only repeats what it took away. The run ends when the settlement is final by the policy of the chain.
         *
         *     The result's schema, the messages and the failures of its own are in `GET /v1/workflows/consensus`.
         */
        post: operations["startConsensus"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workflows/drill/runs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Restore a backup into a scratch database, and check it
         * @description Takes a base backup and the WAL since, holds them to their checksums, restores them into a PostgreSQL of its own that nobody else reaches, brings it to the schema of this version, repeats the erasures of the ledger there, compares it with the live database, and removes it. The result says what a disaster would have lost (RPO) and how long a restore takes (RTO). A drill whose checks fail completes with `passed: false`; one that cannot be made fails with NoBackup, BackupDamaged or ScratchFull. It restores the data of every organisation, so it obeys the runs of one only (HAL9_RECOVERY_ORG). A recovery worker does it: `npm run worker -- recovery`.
         *
         *     The result's schema, the messages and the failures of its own are in `GET /v1/workflows/drill`.
         */
        post: operations["startDrill"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workflows/memory/runs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Remember what was learned
         * @description What the decision of a neuron starts so that neurons of every layer can recall it: a fact, an outcome or a weight of evidence. Once for each run. `POST /v1/memories` does the same at once.
         *
         *     The result's schema, the messages and the failures of its own are in `GET /v1/workflows/memory`.
         */
        post: operations["startMemory"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workflows/remediate/runs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Mend a machine: evidence, action, check, close or escalate
         * @description Asks the agent of a machine for evidence, picks the mildest action for the cause, waits for approval where the policy of the agent says so, acts within its allow-list and blast-radius limit, checks that the symptom is gone, tries the next stronger action if not, and escalates to people when nothing helps.
         *
         *     The result's schema, the messages and the failures of its own are in `GET /v1/workflows/remediate`.
         */
        post: operations["startRemediate"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workflows/retention/runs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Delete what has had its time
         * @description Deletes the rows of a source whose time is over by the policies of its annotations (`retention: {keep, since}` of a table), in small batches with pauses; partitions that have expired as a whole are dropped. Rows of people under a legal hold stay, and rows that others point at. With `dryRun` it counts, by the same rules. The report is at GET /v1/privacy/retention-reports/{id}.
         *
         *     The result's schema, the messages and the failures of its own are in `GET /v1/workflows/retention`.
         */
        post: operations["startRetention"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workflows/rollout/runs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Bring new versions out on Kubernetes, watched, and back if they are worse
         * @description Gives Deployments and StatefulSets that are there new images: rolling, as a canary by replicas or by weights of Gateway API, Istio or nginx, or blue-green; several services in order, clusters in waves. Metrics are judged while it goes; a failed one rolls everything back in reverse, and one that decides nothing waits for people. A rollout always ends fully old or fully new.
         *
         *     The result's schema, the messages and the failures of its own are in `GET /v1/workflows/rollout`.
         */
        post: operations["startRollout"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/welcome": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The page behind a link that sets a password */
        get: operations["resetPage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        AccessExport: {
            bytes: number | null;
            contents: {
                records: number;
                source: string;
                table: string;
            }[];
            downloads: number;
            expiresAt: string | null;
            /** Format: uuid */
            id: string;
            readyAt: string | null;
            /** @description Sources that do not answer; nothing is handed out before they do. */
            reasons: string[];
            /** Format: date-time */
            requestedAt: string;
            requestedBy: string;
            runId: string;
            /** @enum {string} */
            state: "requested" | "collecting" | "blocked" | "ready" | "expired";
            verification: string;
        };
        AccessExportLink: {
            /** Format: date-time */
            expiresAt: string;
            /** @description Whoever has it can fetch the archive, and only the person can open it. */
            url: string;
        };
        AnchorBatch: {
            blockNumber: number | null;
            count: number;
            /** Format: date-time */
            createdAt: string;
            gasUsed: number | null;
            position: number;
            root: string;
            /** @enum {string} */
            state: "waiting" | "sending" | "mined" | "confirmed";
            transaction: string | null;
        };
        AnchorProof: {
            blockNumber: number | null;
            chainId: number;
            /** @description MemoryAnchor. */
            contract: string;
            count: number;
            hash: string;
            position: number;
            /** @description Siblings from the leaf up, as OpenZeppelin's `MerkleProof` takes them. */
            proof: string[];
            root: string;
            /** @enum {string} */
            state: "waiting" | "sending" | "mined" | "confirmed";
            stream: string;
            transaction: string | null;
            writer: string;
        };
        AnchorReceipt: {
            /** @description Those that were not in the stream before. */
            added: number;
            /** @description Of the run that anchors them. */
            runId: string;
        };
        AnchorStream: {
            /** Format: date-time */
            createdAt: string;
            /** Format: uuid */
            id: string;
            name: string;
            /** Format: uuid */
            network: string;
            /** Format: uuid */
            signer: string;
            /** @enum {string} */
            source: "hashes" | "audit" | "memory";
            stream: string;
        };
        ApiKey: {
            /** Format: date-time */
            createdAt: string;
            /** @description The person it stops with; null for one that a key made. */
            createdByUser: string | null;
            expiresAt: string | null;
            /** Format: uuid */
            id: string;
            /** @description Written every ten seconds. */
            lastUsedAt: string | null;
            name: string;
            /** @description Public part of the key, as in `hal9_<prefix>_...`. */
            prefix: string;
            revokedAt: string | null;
            scopes: string[];
        };
        Approval: {
            /** @description Whether the requester may approve, too; refusing they always may. */
            allowRequester: boolean;
            answers: {
                /** Format: date-time */
                answeredAt: string;
                approved: boolean;
                approver: {
                    id: string;
                    /** @enum {string} */
                    kind: "api-key" | "user" | "service" | "system" | "link";
                };
                comment: string | null;
            }[];
            /** @description Who may answer besides having the permission; null: whoever has it. */
            approvers: {
                roles: string[];
                teams: string[];
                users: string[];
            } | null;
            closedAt: string | null;
            /** Format: date-time */
            createdAt: string;
            /** Format: date-time */
            deadlineAt: string;
            decisionId: string | null;
            /** @description What is released on approval; null when the waiting run goes on by itself. */
            effect: unknown;
            /** @description When others were turned to, because nobody had answered. */
            escalatedAt: string | null;
            escalation: {
                afterSeconds: number;
                approvers?: {
                    roles: string[];
                    teams: string[];
                    users: string[];
                };
                connection: string;
            } | null;
            /** Format: uuid */
            id: string;
            /** @description Whether you may approve. */
            mayAnswer: boolean;
            outcome: string | null;
            /** @description What an approver needs besides `approvals:write`. */
            permission: string;
            reason: string;
            /** @description `<kind>:<id>` of who started the run that asks. */
            requester: string | null;
            /** @description Distinct approvers needed. One refusal refuses. */
            required: number;
            /** @description The run that waits. */
            runId: string;
            /** @enum {string} */
            state: "open" | "approved" | "refused" | "expired" | "cancelled";
            summary: string;
            /** @description Who may still answer, in words; empty once it is closed. */
            waitsFor: string[];
        };
        AuditCheckpoint: {
            /** Format: date-time */
            at: string;
            /** @description C2SP signed note with the signatures of the log and of its witness. */
            note: string;
            size: number;
        };
        AuditConsistencyProof: {
            from: number;
            /** Format: base64 */
            fromRoot: string;
            /** @description RFC 9162 section 2.1.4. */
            proof: string[];
            to: number;
            /** Format: base64 */
            toRoot: string;
        };
        AuditEntry: {
            entry: {
                /** @description `<resource>.<verb>`, e.g. `api-key.revoke`. */
                action: string;
                actor: {
                    id: string;
                    kind: string;
                };
                /**
                 * Format: date-time
                 * @description When it happened, by the database's clock.
                 */
                at: string;
                /** @description HMAC-SHA256 by a salt of each personal field. */
                commitments: {
                    [key: string]: string;
                };
                /** @description Neither personal nor secret. */
                details: {
                    [key: string]: unknown;
                };
                /** Format: uuid */
                id: string;
                /** @description The user who acted as the actor. */
                impersonatorId: string | null;
                /** Format: uuid */
                orgId: string;
                requestId: string;
                resource: {
                    id: string;
                    kind: string;
                };
                /** @enum {string} */
                result: "succeeded" | "refused" | "failed";
                /** @description 0 (nothing unusual) to 100. */
                risk: number;
                /** @description Its place in the log, from 0, without gaps: the index of its leaf. */
                seq: number;
                /** @constant */
                v: 1;
            };
            /**
             * Format: base64
             * @description RFC 6962 hash of the RFC 8785 form of `entry`.
             */
            leafHash: string;
            /** @description What was not erased. */
            personal: {
                [key: string]: string;
            };
        };
        AuditEntryWithProof: {
            entry: {
                /** @description `<resource>.<verb>`, e.g. `api-key.revoke`. */
                action: string;
                actor: {
                    id: string;
                    kind: string;
                };
                /**
                 * Format: date-time
                 * @description When it happened, by the database's clock.
                 */
                at: string;
                /** @description HMAC-SHA256 by a salt of each personal field. */
                commitments: {
                    [key: string]: string;
                };
                /** @description Neither personal nor secret. */
                details: {
                    [key: string]: unknown;
                };
                /** Format: uuid */
                id: string;
                /** @description The user who acted as the actor. */
                impersonatorId: string | null;
                /** Format: uuid */
                orgId: string;
                requestId: string;
                resource: {
                    id: string;
                    kind: string;
                };
                /** @enum {string} */
                result: "succeeded" | "refused" | "failed";
                /** @description 0 (nothing unusual) to 100. */
                risk: number;
                /** @description Its place in the log, from 0, without gaps: the index of its leaf. */
                seq: number;
                /** @constant */
                v: 1;
            };
            /** @description In the tree of the latest checkpoint; null until the entry is in one, a second or two. */
            inclusion: components["schemas"]["AuditInclusionProof"] | null;
            /**
             * Format: base64
             * @description RFC 6962 hash of the RFC 8785 form of `entry`.
             */
            leafHash: string;
            /** @description What was not erased. */
            personal: {
                [key: string]: string;
            };
        };
        AuditErasure: {
            /** @description Acts whose personal values were erased. */
            erased: number;
        };
        AuditInclusionProof: {
            /** @description Signed note of the tree; null when no checkpoint of this size was made. */
            checkpoint: string | null;
            /** Format: base64 */
            leafHash: string;
            leafIndex: number;
            /** @description From the bottom up (RFC 9162 section 2.1.3). */
            proof: string[];
            /** Format: base64 */
            root: string;
            treeSize: number;
        };
        AuditKeys: {
            /** @description Verifier key of the log. Keep it where nobody who rules the database can change it. */
            log: string;
            origin: string;
            /** @description Verifier key of the witness. */
            witness: string;
        };
        Automation: {
            /** @description CEL bool over `signal`; a signal that does not meet it is recorded as skipped. */
            condition?: string;
            /** Format: date-time */
            createdAt: string;
            /** @default  */
            description: string;
            effect: {
                /**
                 * @description Field of the operation's input -> CEL expression over `signal`.
                 * @default {}
                 */
                input: {
                    [key: string]: string;
                };
                /** @constant */
                kind: "operation";
                /** @description Name of the operation, as in GET /v1/workflows. */
                operation: string;
            } | {
                /**
                 * @description Field of the new signal's data -> CEL expression over `signal`.
                 * @default {}
                 */
                data: {
                    [key: string]: string;
                };
                /** @constant */
                kind: "signal";
                /** @description CEL string. */
                subject?: string;
                type: string;
            };
            /** @default true */
            enabled: boolean;
            /** Format: uuid */
            id: string;
            name: string;
            /** @description Who saved this version. Effects run with the scopes the owner had then, while the owner still has them. */
            owner: {
                id: string;
                kind: string;
            };
            /** @description Set by HAL9 when the automation may not go on; enabling or saving it again ends the pause. */
            paused: {
                /** Format: date-time */
                at: string;
                reason: string;
            } | null;
            trigger: {
                /** @description CEL over `signal`. What it leaves out is not recorded as skipped. */
                filter?: string;
                /** @constant */
                kind: "signal";
                /** @description Exact sources, or prefixes ending in `*`; missing is all. */
                sources?: string[];
                /** @description Exact types, or prefixes ending in `.*`; `*` is all. */
                types: string[];
            } | {
                filter?: string;
                /**
                 * Format: uuid
                 * @description Id of the inbound webhook (`POST /v1/hooks`).
                 */
                hookId: string;
                /** @constant */
                kind: "webhook";
                /**
                 * @default [
                 *       "*"
                 *     ]
                 */
                types: string[];
            } | {
                filter?: string;
                /** @constant */
                kind: "schedule";
                /**
                 * Format: uuid
                 * @description Id of a schedule that sends a signal (`POST /v1/schedules`).
                 */
                scheduleId: string;
            } | {
                filter?: string;
                /** @constant */
                kind: "source";
                /**
                 * Format: uuid
                 * @description Id of the AMQP or Kafka source (`POST /v1/sources`).
                 */
                sourceId: string;
                /**
                 * @default [
                 *       "*"
                 *     ]
                 */
                types: string[];
            };
            /** Format: date-time */
            updatedAt: string;
            /** @description Grows with every change; send it back in If-Match. */
            version: number;
        };
        AutomationFiring: {
            automationVersion: number;
            /** @description Automations whose firing led to the signal, oldest first. */
            chain: string[];
            /** Format: date-time */
            createdAt: string;
            doneAt: string | null;
            effect: ({
                input: {
                    [key: string]: unknown;
                };
                /** @constant */
                kind: "operation";
                operation: string;
            } | {
                data: {
                    [key: string]: unknown;
                };
                /** @constant */
                kind: "signal";
                partitionKey: string;
                subject: string | null;
                type: string;
            }) | null;
            /** @description The signal it sent. */
            emitted: string | null;
            /** Format: uuid */
            id: string;
            /** @description Why it was skipped, failed or still waits. */
            reason: string | null;
            /** @description The run it started. */
            runId: string | null;
            /**
             * Format: uuid
             * @description The signal, or the first of `signals`.
             */
            signal: string;
            /** @description Signals this row stands for: those of a batch that were passed over for the same reason share one. */
            signals: number;
            signalType: string;
            /** @enum {string} */
            state: "pending" | "fired" | "skipped" | "failed";
        };
        AutomationTrial: {
            items: {
                /** @description What would leave. */
                effect: ({
                    input: {
                        [key: string]: unknown;
                    };
                    /** @constant */
                    kind: "operation";
                    operation: string;
                } | {
                    data: {
                        [key: string]: unknown;
                    };
                    /** @constant */
                    kind: "signal";
                    partitionKey: string;
                    subject: string | null;
                    type: string;
                }) | null;
                /** @description Why the operation would refuse the mapped input. */
                inputErrors: {
                    message: string;
                    path: string;
                }[];
                /** @enum {string} */
                outcome: "unmatched" | "skip" | "fail" | "fire";
                reason: string | null;
                signal: string | null;
                type: string;
            }[];
            matched: number;
            wouldFire: number;
        };
        Billing: {
            invoices: {
                /** @description In the currency's smallest unit. */
                amountDue: number;
                amountPaid: number;
                currency: string;
                id: string;
                number: string | null;
                /** Format: date-time */
                periodEnd: string;
                /** Format: date-time */
                periodStart: string;
                status: string;
                /** @description The payment provider's page of it. */
                url: string | null;
            }[];
            /** @description What can be bought here; empty where nothing is sold. */
            plans: ("free" | "starter" | "professional" | "enterprise")[];
            subscription: {
                cancelsAt: string | null;
                plan: ("free" | "starter" | "professional" | "enterprise") | null;
                /** @description As the payment provider names it, e.g. `active`, `past_due`, `incomplete`, `canceled`. */
                status: string;
            } | null;
        };
        BrowserCondition: {
            /** @description No request for half a second. */
            networkIdle?: boolean;
            /** @description An element that is in the `state`. */
            on?: components["schemas"]["BrowserLocator"];
            /**
             * @default visible
             * @enum {string}
             */
            state: "visible" | "hidden" | "attached" | "detached" | "enabled" | "checked";
            /** @description Text that the page (or the element) shows. */
            text?: string;
            /** @description An expression that is true. */
            that?: string;
            /** @description The address of the page: a glob, e.g. `**\/orders/*`. */
            url?: string;
        };
        BrowserFlow: {
            /**
             * @description When a step cannot be taken and a CAPTCHA stands on the page: whether a model, and then a person, is asked, and for how long; the step is tried again afterwards.
             * @default {
             *       "tries": 3,
             *       "do": "hand-over",
             *       "deadlineSeconds": 3600
             *     }
             */
            captcha: {
                /** @default 3600 */
                deadlineSeconds: number;
                /**
                 * @default hand-over
                 * @enum {string}
                 */
                do: "hand-over" | "fail";
                /** @description Neuron of kind `llm`, of a model that sees pictures, that is asked first; default: none is. */
                neuron?: string;
                /**
                 * @description How often it may look and answer, for one step.
                 * @default 3
                 */
                tries: number;
            };
            /**
             * @description What is answered to alert, confirm and prompt.
             * @default dismiss
             * @enum {string}
             */
            dialogs: "accept" | "dismiss";
            /**
             * @description What is kept of each step besides its outcome: a picture, and the page in words (roles, names, texts) where it is small or the step failed; `full` of every page.
             * @default screenshots
             * @enum {string}
             */
            evidence: "none" | "screenshots" | "full";
            /**
             * @description Sub-flows, for `call`.
             * @default {}
             */
            flows: {
                [key: string]: components["schemas"]["BrowserStep"][];
            };
            /**
             * @description Hosts that pages may reach, e.g. `shop.example`, `*.example`; default all public ones.
             * @default {
             *       "deny": []
             *     }
             */
            hosts: {
                allow?: string[];
                /** @default [] */
                deny: string[];
            };
            /**
             * @default {
             *       "minutes": 30,
             *       "pages": 10,
             *       "steps": 5000,
             *       "megabytes": 200
             *     }
             */
            limits: {
                /**
                 * @description That pages may receive.
                 * @default 200
                 */
                megabytes: number;
                /**
                 * @description Of the whole session while it is worked on.
                 * @default 30
                 */
                minutes: number;
                /**
                 * @description Open at once.
                 * @default 10
                 */
                pages: number;
                /** @default 5000 */
                steps: number;
            };
            /** @default en-US */
            locale: string;
            name?: string;
            /**
             * @description Neuron of kind `llm` that is asked where steps are in words.
             * @default browser
             */
            neuron: string;
            /**
             * @description What may get in the way at any time, and what closes it.
             * @default []
             */
            overlays: {
                click: components["schemas"]["BrowserLocator"];
                on: components["schemas"]["BrowserLocator"];
            }[];
            /** @description What the run answers; default: all variables. */
            result?: string;
            steps: components["schemas"]["BrowserStep"][];
            /** @default 15 */
            stepSeconds: number;
            /** @default UTC */
            timeZone: string;
            /**
             * @description Variables at the beginning.
             * @default {}
             */
            vars: {
                [key: string]: unknown;
            };
            /**
             * @default {
             *       "width": 1280,
             *       "height": 800
             *     }
             */
            viewport: {
                height: number;
                width: number;
            };
        };
        BrowserLiveInput: {
            /** @constant */
            do: "move";
            x: number;
            y: number;
        } | {
            /**
             * @default left
             * @enum {string}
             */
            button: "left" | "right" | "middle";
            /** @constant */
            do: "down";
            x: number;
            y: number;
        } | {
            /**
             * @default left
             * @enum {string}
             */
            button: "left" | "right" | "middle";
            /** @constant */
            do: "up";
            x: number;
            y: number;
        } | {
            /** @constant */
            do: "wheel";
            dx: number;
            dy: number;
            x: number;
            y: number;
        } | {
            /** @constant */
            do: "key-down";
            /** @description As `KeyboardEvent.key` says. */
            key: string;
        } | {
            /** @constant */
            do: "key-up";
            /** @description As `KeyboardEvent.key` says. */
            key: string;
        } | {
            /** @constant */
            do: "text";
            /** @description All at once, e.g. pasted. */
            text: string;
        };
        BrowserLocator: {
            altText?: string;
            /** @description A CSS selector: the last resort, layouts change. */
            css?: string;
            /** @description Whether texts must be equal, case included; default: contained, case ignored. */
            exact?: boolean;
            /** @description CSS selector of the frame that holds it. */
            frame?: string;
            /** @description Only elements that hold such an element. */
            has?: components["schemas"]["BrowserLocator"];
            /** @description Only elements with this text somewhere inside. */
            hasText?: string;
            /** @description Text of the label of a field. */
            label?: string;
            /** @description Accessible name, with `role`. */
            name?: string;
            /** @description Which of several, from 0; negative from the end; a text is a CEL expression. */
            nth?: number | string;
            /** @description Tried in this order when the first finds nothing. */
            or?: components["schemas"]["BrowserLocator"][];
            placeholder?: string;
            /** @description ARIA role, e.g. `button`. */
            role?: string;
            /** @description The attribute `data-testid`. */
            testId?: string;
            /** @description Text of the element itself. */
            text?: string;
            title?: string;
            /** @description Only visible (or hidden) elements; default any. */
            visible?: boolean;
            /** @description Only inside of this element. */
            within?: components["schemas"]["BrowserLocator"];
        };
        BrowserSessionSettings: {
            /**
             * @description When a step cannot be taken and a CAPTCHA stands on the page: whether a model, and then a person, is asked, and for how long; the step is tried again afterwards.
             * @default {
             *       "tries": 3,
             *       "do": "hand-over",
             *       "deadlineSeconds": 3600
             *     }
             */
            captcha: {
                /** @default 3600 */
                deadlineSeconds: number;
                /**
                 * @default hand-over
                 * @enum {string}
                 */
                do: "hand-over" | "fail";
                /** @description Neuron of kind `llm`, of a model that sees pictures, that is asked first; default: none is. */
                neuron?: string;
                /**
                 * @description How often it may look and answer, for one step.
                 * @default 3
                 */
                tries: number;
            };
            /**
             * @description What is answered to alert, confirm and prompt.
             * @default dismiss
             * @enum {string}
             */
            dialogs: "accept" | "dismiss";
            /**
             * @description What is kept of each step besides its outcome: a picture, and the page in words (roles, names, texts) where it is small or the step failed; `full` of every page.
             * @default screenshots
             * @enum {string}
             */
            evidence: "none" | "screenshots" | "full";
            /**
             * @description Hosts that pages may reach, e.g. `shop.example`, `*.example`; default all public ones.
             * @default {
             *       "deny": []
             *     }
             */
            hosts: {
                allow?: string[];
                /** @default [] */
                deny: string[];
            };
            /**
             * @default {
             *       "minutes": 30,
             *       "pages": 10,
             *       "steps": 5000,
             *       "megabytes": 200
             *     }
             */
            limits: {
                /**
                 * @description That pages may receive.
                 * @default 200
                 */
                megabytes: number;
                /**
                 * @description Of the whole session while it is worked on.
                 * @default 30
                 */
                minutes: number;
                /**
                 * @description Open at once.
                 * @default 10
                 */
                pages: number;
                /** @default 5000 */
                steps: number;
            };
            /** @default en-US */
            locale: string;
            name?: string;
            /**
             * @description Neuron of kind `llm` that is asked where steps are in words.
             * @default browser
             */
            neuron: string;
            /**
             * @description What may get in the way at any time, and what closes it.
             * @default []
             */
            overlays: {
                click: components["schemas"]["BrowserLocator"];
                on: components["schemas"]["BrowserLocator"];
            }[];
            /** @default 15 */
            stepSeconds: number;
            /** @default UTC */
            timeZone: string;
            /**
             * @description Variables at the beginning.
             * @default {}
             */
            vars: {
                [key: string]: unknown;
            };
            /**
             * @default {
             *       "width": 1280,
             *       "height": 800
             *     }
             */
            viewport: {
                height: number;
                width: number;
            };
        };
        BrowserStep: {
            /** @constant */
            do: "navigate";
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            /** @description What people call it. */
            name?: string;
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
            /**
             * @default load
             * @enum {string}
             */
            until: "load" | "domcontentloaded" | "networkidle" | "commit";
            url: string;
        } | {
            /** @constant */
            do: "history";
            /** @enum {string} */
            go: "back" | "forward" | "reload";
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            /** @description What people call it. */
            name?: string;
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
        } | {
            /** @description Pixels from the top left corner of the element; default its middle. */
            at?: {
                x: number;
                y: number;
            };
            /**
             * @default left
             * @enum {string}
             */
            button: "left" | "right" | "middle";
            /** @constant */
            do: "click";
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            modifiers?: ("Alt" | "Control" | "Meta" | "Shift")[];
            /** @description What people call it. */
            name?: string;
            on: components["schemas"]["BrowserLocator"];
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
            /** @default 1 */
            times: number;
        } | {
            /**
             * @description One key after the other, for fields that look at each.
             * @default false
             */
            byKey: boolean;
            /** @default true */
            clear: boolean;
            /** @constant */
            do: "type";
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            into: components["schemas"]["BrowserLocator"];
            /** @description What people call it. */
            name?: string;
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            /** @description From the vault instead of `text`; only on pages of the credential's origins. */
            secret?: {
                /** @description Name of a connection of kind `website`. */
                credential: string;
                /** @enum {string} */
                field: "username" | "password" | "totp";
            };
            /**
             * @description Presses Enter afterwards.
             * @default false
             */
            submit: boolean;
            text?: string;
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
        } | {
            /** @constant */
            do: "select";
            from: components["schemas"]["BrowserLocator"];
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            /** @description What people call it. */
            name?: string;
            /** @description By label, else by value. */
            options: string[];
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
        } | {
            /** @default true */
            checked: boolean;
            /** @constant */
            do: "check";
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            /** @description What people call it. */
            name?: string;
            on: components["schemas"]["BrowserLocator"];
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
        } | {
            /** @constant */
            do: "press";
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            /** @description E.g. `Enter`, `Control+A`, `{{ vars.key }}`. */
            key: string;
            /** @description What people call it. */
            name?: string;
            on?: components["schemas"]["BrowserLocator"];
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
            /**
             * @description A text is a CEL expression; 0 presses nothing.
             * @default 1
             */
            times: number | string;
        } | {
            /** @constant */
            do: "hover";
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            /** @description What people call it. */
            name?: string;
            on: components["schemas"]["BrowserLocator"];
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
        } | {
            /** @constant */
            do: "focus";
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            /** @description What people call it. */
            name?: string;
            on: components["schemas"]["BrowserLocator"];
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
        } | {
            by?: {
                x: number;
                y: number;
            };
            /** @constant */
            do: "scroll";
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            inside?: components["schemas"]["BrowserLocator"];
            /** @description What people call it. */
            name?: string;
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
            to?: components["schemas"]["BrowserLocator"];
        } | {
            /** @description Pixels, where there is no element to drop it on. */
            by?: {
                x: number;
                y: number;
            };
            /** @constant */
            do: "drag";
            from: components["schemas"]["BrowserLocator"];
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            /** @description What people call it. */
            name?: string;
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
            to?: components["schemas"]["BrowserLocator"];
        } | {
            /** @constant */
            do: "upload";
            files: {
                content: string;
                /** @default text/plain */
                mediaType: string;
                name: string;
            }[];
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            into: components["schemas"]["BrowserLocator"];
            /** @description What people call it. */
            name?: string;
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
        } | {
            as: string;
            /** @constant */
            do: "download";
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            /** @description What people call it. */
            name?: string;
            on: components["schemas"]["BrowserLocator"];
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
        } | {
            /** @constant */
            do: "wait";
            for: components["schemas"]["BrowserCondition"];
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            /** @description What people call it. */
            name?: string;
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
        } | {
            /** @constant */
            do: "pause";
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            /** @description What people call it. */
            name?: string;
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            seconds: number;
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
        } | {
            /**
             * @description The reading of every element found, as a list.
             * @default false
             */
            all: boolean;
            as: string;
            attribute?: string;
            /** @constant */
            do: "extract";
            fields?: {
                [key: string]: {
                    attribute?: string;
                    /** @description RE2 pattern; its first group, or the whole match, is the value. */
                    match?: string;
                    on?: components["schemas"]["BrowserLocator"];
                    /**
                     * @description Null, rather than a failure, where the element or the match is missing.
                     * @default false
                     */
                    optional: boolean;
                    /**
                     * @default text
                     * @enum {string}
                     */
                    read: "text" | "value" | "attribute" | "checked" | "count" | "visible";
                    /**
                     * @description What the value must be; numbers may have currency signs and thousands separators.
                     * @default text
                     * @enum {string}
                     */
                    type: "text" | "number" | "integer" | "boolean";
                };
            };
            /** @enum {string} */
            from?: "url" | "title";
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            /** @description An object of `fields` for each of these. */
            list?: components["schemas"]["BrowserLocator"];
            /** @description RE2 pattern; its first group, or the whole match, is the value. */
            match?: string;
            /** @description What people call it. */
            name?: string;
            on?: components["schemas"]["BrowserLocator"];
            /** @default false */
            optional: boolean;
            /**
             * @default text
             * @enum {string}
             */
            read: "text" | "value" | "attribute" | "checked" | "count" | "visible";
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            /** @description Its rows, as objects named by the header cells. */
            table?: components["schemas"]["BrowserLocator"];
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
            /**
             * @description What the value must be; numbers may have currency signs and thousands separators.
             * @default text
             * @enum {string}
             */
            type: "text" | "number" | "integer" | "boolean";
            /** @description What is to be read, in words: a model says where it stands, and the page is read there. */
            words?: string;
        } | {
            /** @constant */
            do: "assert";
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            /** @description What people call it. */
            name?: string;
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            that: components["schemas"]["BrowserCondition"];
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
        } | {
            as: string;
            /** @constant */
            do: "set";
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            /** @description What people call it. */
            name?: string;
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
            value: string;
        } | {
            as: string;
            /** @constant */
            do: "screenshot";
            /** @default false */
            fullPage: boolean;
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            /** @description What people call it. */
            name?: string;
            of?: components["schemas"]["BrowserLocator"];
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
        } | {
            as: string;
            /** @constant */
            do: "pdf";
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            /** @description What people call it. */
            name?: string;
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
        } | {
            /** @constant */
            do: "tab";
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            /** @description What people call it. */
            name?: string;
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
            /** @enum {string} */
            to: "newest" | "first" | "close";
        } | {
            /**
             * @description Connections of kind `website` that the model may have typed in; it learns their names only.
             * @default []
             */
            credentials: string[];
            /** @constant */
            do: "act";
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            /**
             * @description How often the model may look and say what comes next.
             * @default 8
             */
            most: number;
            /** @description What people call it. */
            name?: string;
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
            /** @description What is to be done, in words: a model says the steps, which are taken like any others. */
            words: string;
        } | {
            /** @description Variable that gets a list of steps that could be taken, each `{about, step}`; none is. */
            as: string;
            /** @constant */
            do: "observe";
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            /** @description What people call it. */
            name?: string;
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
            /** @description What is looked for, in words. */
            words: string;
        } | {
            /** @default 3600 */
            deadlineSeconds: number;
            /** @constant */
            do: "hand-over";
            /** @description What must be seen once the person is done. */
            done?: components["schemas"]["BrowserCondition"];
            guard?: {
                /** @description Address to look at; default: the page as it was restored. */
                at?: string;
                /** @description Holds once the effect has happened. */
                seen: components["schemas"]["BrowserCondition"];
                /**
                 * @description How long it is waited for.
                 * @default 5
                 */
                withinSeconds: number;
            };
            /**
             * @description What happens when the element never comes; default `fail`.
             * @enum {string}
             */
            ifMissing?: "fail" | "skip";
            /** @description What people call it. */
            name?: string;
            reason: string;
            /** @description Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again. */
            repeatable?: boolean;
            /** @description Default: the flow's `stepSeconds`. */
            timeoutSeconds?: number;
        } | {
            /** @constant */
            do: "if";
            else?: components["schemas"]["BrowserStep"][];
            name?: string;
            steps: components["schemas"]["BrowserStep"][];
            /** @description Looked at once, without waiting. */
            when: components["schemas"]["BrowserCondition"];
        } | {
            as: string;
            /** @constant */
            do: "for-each";
            /** @description A list. */
            in: string;
            name?: string;
            steps: components["schemas"]["BrowserStep"][];
        } | {
            /** @constant */
            do: "while";
            /**
             * @description More turns than this are a failure.
             * @default 100
             */
            most: number;
            name?: string;
            steps: components["schemas"]["BrowserStep"][];
            when: components["schemas"]["BrowserCondition"];
        } | {
            /** @constant */
            do: "call";
            flow: string;
            name?: string;
            /** @description Variables to set first. */
            with?: {
                [key: string]: string;
            };
        };
        Budget: {
            /** @description Null: no limit. */
            limits: {
                calls: number | null;
                tokens: number | null;
                usd: string | null;
            };
            /** @enum {string} */
            period: "day" | "month" | "cascade";
            /** @description Of the running period; null for `cascade`. */
            used: {
                /** @description Worst case of calls under way. */
                reserved: {
                    calls: number;
                    tokens: number;
                    /** @description Decimal text, nine places. */
                    usd: string;
                };
                spent: {
                    calls: number;
                    tokens: number;
                    /** @description Decimal text, nine places. */
                    usd: string;
                };
            } | null;
        };
        BulkItem: {
            at: string | null;
            failure: string | null;
            n: number;
            /** @description The run that a retry started. */
            newRunId: string | null;
            runId: string;
            /** @enum {string} */
            state: "waiting" | "doing" | "done" | "failed" | "aborted";
        };
        BulkReport: {
            /** @enum {string} */
            action: "signal" | "cancel" | "terminate" | "pause" | "resume" | "retry" | "replay";
            counts: {
                aborted: number;
                doing: number;
                done: number;
                failed: number;
                waiting: number;
            };
            /** Format: date-time */
            createdAt: string;
            /** Format: uuid */
            id: string;
            /** @description The run that works it off: stream it for progress, pause it to wait, cancel it to leave out the rest. */
            runId: string;
        };
        BulkStarted: {
            /** Format: uuid */
            id: string;
            items: number;
            runId: string;
        };
        Chain: {
            chainId: number;
            /** Format: date-time */
            createdAt: string;
            /** Format: uuid */
            id: string;
            name: string;
            policy: {
                [key: string]: number | string;
            };
            rpcHosts: string[];
            /** Format: date-time */
            updatedAt: string;
        };
        ChainAccount: {
            address: string;
            /** @description 10^-18 HAL9, as all amounts here. */
            balance: string;
            /** @description Rewards of staking. */
            claimable: string;
            neuron: {
                bond: string;
                openRounds: number;
                reputation: number;
                roles: string[];
            } | null;
            /** @description By the market. */
            owed: string;
            staked: {
                amount: string;
                /** Format: date-time */
                unlocksAt: string;
            }[];
            votes: string;
        };
        ChainNetwork: {
            anchor: string;
            /** Format: uuid */
            chain: string;
            /** Format: date-time */
            createdAt: string;
            governance: string | null;
            /** Format: uuid */
            id: string;
            market: string;
            name: string;
            registry: string;
            timelock: string | null;
            token: string;
        };
        ChainSigner: {
            address: string;
            /** Format: uuid */
            chain: string;
            chainId: number;
            /** Format: date-time */
            createdAt: string;
            /** Format: uuid */
            id: string;
            key: {
                kind: string;
                name: string | null;
            };
            name: string;
            /** @description What holds its transactions up. It passes by itself once the cause is gone. */
            trouble: {
                detail: string;
                /** Format: date-time */
                since: string;
                type: string;
            } | null;
        };
        ChainTransaction: {
            blockHash: string | null;
            blockNumber: number | null;
            /** @description Of a carrier: how many submissions it was made of. */
            calls: number | null;
            /** @description The transaction that it left in together with others. Nonce and versions are those of that one; state, outcome and block are the same. */
            carrier: string | null;
            contractAddress: string | null;
            /** Format: date-time */
            createdAt: string;
            data: string;
            doneAt: string | null;
            failure: {
                detail: string;
                type: string;
            } | null;
            gasPrice: string | null;
            /** @description Of one that left in a carrier: its equal share. */
            gasUsed: number | null;
            hash: string | null;
            /** Format: uuid */
            id: string;
            nonce: number | null;
            /** @description Of what was mined. A reorganisation takes it back. */
            outcome: ("succeeded" | "reverted" | "cancelled") | null;
            reference: string | null;
            /** Format: uuid */
            signer: string;
            /**
             * @description `failed` and `cancelled` were never sent, or never can be mined any more.
             * @enum {string}
             */
            state: "queued" | "pending" | "mined" | "confirmed" | "failed" | "cancelled";
            to: string | null;
            value: string;
        };
        ChainTransactionDetail: {
            attempts: {
                broadcastAt: string | null;
                broadcasts: number;
                hash: string;
                /** @enum {string} */
                kind: "send" | "bump" | "cancel";
                maxFeePerGas: string;
                n: number;
                priorityFeePerGas: string;
                rejection: string | null;
                /** Format: date-time */
                signedAt: string;
            }[];
            blockHash: string | null;
            blockNumber: number | null;
            /** @description Of a carrier: how many submissions it was made of. */
            calls: number | null;
            /** @description The transaction that it left in together with others. Nonce and versions are those of that one; state, outcome and block are the same. */
            carrier: string | null;
            contractAddress: string | null;
            /** Format: date-time */
            createdAt: string;
            data: string;
            doneAt: string | null;
            events: {
                /** Format: date-time */
                at: string;
                detail: string | null;
                what: string;
            }[];
            failure: {
                detail: string;
                type: string;
            } | null;
            gasPrice: string | null;
            /** @description Of one that left in a carrier: its equal share. */
            gasUsed: number | null;
            hash: string | null;
            /** Format: uuid */
            id: string;
            nonce: number | null;
            /** @description Of what was mined. A reorganisation takes it back. */
            outcome: ("succeeded" | "reverted" | "cancelled") | null;
            reference: string | null;
            /** Format: uuid */
            signer: string;
            /**
             * @description `failed` and `cancelled` were never sent, or never can be mined any more.
             * @enum {string}
             */
            state: "queued" | "pending" | "mined" | "confirmed" | "failed" | "cancelled";
            to: string | null;
            value: string;
        };
        ChainTransactionDraft: {
            /**
             * @description Leaves in one transaction with those next to it in the queue that are for the same contract, where that has `multicall(bytes[])` as OpenZeppelin's `Multicall` does. Not with `value` or `gasLimit`.
             * @default false
             */
            batch: boolean;
            /**
             * @description At most 128 KiB.
             * @default 0x
             */
            data: string;
            /** @description Left out: estimated, and a fifth more. */
            gasLimit?: number;
            /** @description Instead of the chain's policy. */
            maxFeePerGas?: string;
            /** @description Your own name for it: sent again with the same one it is the same transaction. */
            reference?: string;
            /** Format: uuid */
            signer: string;
            /** @description Left out: `data` deploys a contract. */
            to?: string;
            /**
             * @description Wei.
             * @default 0
             */
            value: string;
        };
        ChainTransactionReceipt: {
            /** @description False: an earlier request made it, by its reference. */
            created: boolean;
            /** Format: uuid */
            id: string;
            reference: string | null;
            /** Format: uuid */
            signer: string;
            /** @enum {string} */
            state: "queued" | "pending" | "mined" | "confirmed" | "failed" | "cancelled";
        };
        ChainTransactionReceipts: {
            items: components["schemas"]["ChainTransactionReceipt"][];
        };
        CodecPayloads: {
            payloads: {
                /**
                 * Format: base64
                 * @default
                 */
                data: string;
                /** @default {} */
                metadata: {
                    [key: string]: string;
                };
            }[];
        };
        CodecPayloadsOutput: {
            payloads: {
                /**
                 * Format: base64
                 * @default
                 */
                data: string;
                /** @default {} */
                metadata: {
                    [key: string]: string;
                };
            }[];
        };
        ComponentHealth: {
            /** @description Sick components the state comes from, nearest first; empty when the cause is its own. */
            causes: string[];
            dependsOn: string[];
            detail: string;
            kind: string;
            name: string;
            /**
             * Format: date-time
             * @description When this state began.
             */
            since: string;
            /**
             * @description With sick dependencies considered: one that is well but rests on a sick one is degraded.
             * @enum {string}
             */
            state: "healthy" | "degraded" | "unhealthy";
        };
        Connection: {
            /** Format: date-time */
            createdAt: string;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            kind: "smtp" | "slack" | "pagerduty" | "webhook" | "llm" | "http" | "amqp" | "kafka" | "website" | "kubernetes" | "ipfs" | "pinning";
            lastFailure: string | null;
            lastTestedAt: string | null;
            name: string;
            /** @description Names of the secret settings that are set. */
            secrets: string[];
            /** @description What is no secret; null when no master key in the ring opens it. */
            settings: {
                [key: string]: unknown;
            } | null;
            /** @enum {string} */
            state: "untested" | "ok" | "failed";
            /** Format: date-time */
            updatedAt: string;
            updatedBy: string;
            version: number;
        };
        Consensus: {
            /** @description Of the settlement. */
            blockNumber: number | null;
            /** Format: date-time */
            createdAt: string;
            /** @description So deep in the chain that it is not followed any more. */
            final: boolean;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            mode: "on-chain" | "off-chain";
            /** Format: uuid */
            network: string;
            /** @description What those who were right share, 10^-18 HAL9. */
            paid: string | null;
            /**
             * @description As the chain has it; a reorganisation takes it back.
             * @enum {string}
             */
            phase: "unopened" | "opening" | "committing" | "revealing" | "reporting" | "tallying" | "challengeable" | "settling" | "settled" | "refunded";
            /** Format: uuid */
            requester: string;
            /** @description In the market. */
            requestId: string | null;
            resultHash: string | null;
            /** @description From 0; each dispute opens another one. */
            round: number;
            runId: string;
            /** @description What the others lost, 10^-18 HAL9. */
            slashed: string | null;
            /** Format: date-time */
            updatedAt: string;
        };
        ConsensusDetail: {
            /** @description Of the settlement. */
            blockNumber: number | null;
            /** Format: date-time */
            createdAt: string;
            /** @description So deep in the chain that it is not followed any more. */
            final: boolean;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            mode: "on-chain" | "off-chain";
            /** Format: uuid */
            network: string;
            /** @description What those who were right share, 10^-18 HAL9. */
            paid: string | null;
            /**
             * @description As the chain has it; a reorganisation takes it back.
             * @enum {string}
             */
            phase: "unopened" | "opening" | "committing" | "revealing" | "reporting" | "tallying" | "challengeable" | "settling" | "settled" | "refunded";
            /** Format: uuid */
            requester: string;
            /** @description In the market. */
            requestId: string | null;
            resultHash: string | null;
            /** @description From 0; each dispute opens another one. */
            round: number;
            runId: string;
            /** @description What the others lost, 10^-18 HAL9. */
            slashed: string | null;
            /** Format: date-time */
            updatedAt: string;
            votes: {
                address: string;
                resultHash: string | null;
                round: number;
                verdict: ("right" | "wrong" | "silent") | null;
            }[];
        };
        Consent: {
            /**
             * Format: date-time
             * @description When the person decided.
             */
            at: string;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            legalBasis: "consent" | "explicit-consent" | "contract" | "legal-obligation" | "vital-interests" | "public-task" | "legitimate-interests";
            proofSha256: string | null;
            /** @description E.g. `newsletter`. */
            purpose: string;
            /** Format: date-time */
            recordedAt: string;
            /** @description Kind and id. */
            recordedBy: string;
            source: string;
            /** @enum {string} */
            state: "given" | "withdrawn";
            textVersion: string;
        };
        ConsentChange: {
            /** @constant */
            kind: "consent";
            purpose: string;
            /** @enum {string} */
            state: "given" | "withdrawn";
        };
        Content: {
            /** @description Whether it is about somebody, whose key seals it. */
            about: boolean;
            blocks: number;
            /** @description In the clear. */
            bytes: number;
            /** Format: date-time */
            createdAt: string;
            /** Format: uuid */
            id: string;
            mediaType: string;
            /** @description As the providers said last. */
            pins: {
                failure: string | null;
                /** @description Name of the connection; `(embedded)`: HAL9 itself. */
                provider: string;
                /** @enum {string} */
                state: "pinned" | "failed";
            }[];
            /** @description Identifier on IPFS (CID) of the block that links to the sealed blocks. */
            root: string;
            writtenBy: string;
        };
        Control: {
            /** @description By framework: SOC 2, ISO 27001, GDPR. */
            clauses: {
                [key: string]: string[];
            };
            /** @description Days of the period with evidence; null for controls that tests alone show. */
            coverage: {
                covered: number;
                days: number;
                /** @description With evidence that did not pass. */
                failures: {
                    /** Format: date */
                    from: string;
                    /** Format: date */
                    to: string;
                }[];
                /** @description Without evidence; both days inclusive. */
                gaps: {
                    /** Format: date */
                    from: string;
                    /** Format: date */
                    to: string;
                }[];
            } | null;
            id: string;
            last: components["schemas"]["Evidence"] | null;
            /** @description Questions to the database that show it, asked daily. */
            queries: string[];
            /** @enum {string} */
            state: "passing" | "failing" | "not-collected" | "shown-by-tests";
            /** @description Tests of every build that show it. */
            tests: string[];
            title: string;
        };
        Correction: {
            /** @description As the annotations name it: every field of this category that is the person's is corrected. */
            category: string;
            /** @description Only in this column; members of JSON as `column.member`. */
            column?: string;
            /** @description Only in this source. */
            source?: string;
            /** @description Only in this table or kind of record, as the annotations name it. */
            table?: string;
            /** @description The right one, as text; null where there is none. */
            value: string | null;
            /** @description Only fields that hold this value, whatever its case. Needed where the person has several different ones in one column. */
            was?: string;
        };
        CreatedApiKey: {
            /** Format: date-time */
            createdAt: string;
            /** @description The person it stops with; null for one that a key made. */
            createdByUser: string | null;
            expiresAt: string | null;
            /** Format: uuid */
            id: string;
            /** @description Written every ten seconds. */
            lastUsedAt: string | null;
            name: string;
            /** @description Public part of the key, as in `hal9_<prefix>_...`. */
            prefix: string;
            revokedAt: string | null;
            scopes: string[];
            /** @description The whole key. Shown this once; HAL9 keeps its hash only. */
            secret: string;
        };
        CreatedInvitation: {
            acceptedAt: string | null;
            acceptedBy: string | null;
            /** Format: date-time */
            createdAt: string;
            email: string | null;
            /** Format: date-time */
            expiresAt: string;
            /** Format: uuid */
            id: string;
            /** @description The user who invited; null for a key. */
            invitedBy: string | null;
            /** @description Makes the account, once; shown only now. Null when the mail left: then it is the addressee's alone. */
            link: string | null;
            /** @description Whether a mail server took it. */
            mailed: boolean;
            /** @description Why no mail left, if one was asked for. */
            mailFailure: string | null;
            revokedAt: string | null;
            roles: string[];
            teamIds: string[];
            userId: string | null;
        };
        CurrentSession: {
            actor: {
                id: string;
                /** @enum {string} */
                kind: "user" | "api-key";
            };
            /** @description To be sent as X-CSRF-Token with everything that is not GET. */
            csrfToken: string;
            /** Format: date-time */
            expiresAt: string;
            /** Format: uuid */
            homeOrgId: string;
            /** Format: uuid */
            id: string;
            impersonatorId: string | null;
            method: string;
            /**
             * Format: uuid
             * @description The organisation acted in.
             */
            orgId: string;
            /**
             * Format: date-time
             * @description Sensitive requests ask for another proof after this.
             */
            provenUntil: string;
            risk: number;
            scopes: string[];
            secondFactor: boolean;
        };
        DeadLetterExchange: {
            /**
             * @description Empty is the default exchange.
             * @default
             */
            exchange: string;
            routingKey: string;
        };
        DeadLetterExchangeInput: {
            /**
             * @description Empty is the default exchange.
             * @default
             */
            exchange: string;
            routingKey: string;
        };
        DeadLetterTopic: {
            topic: string;
        };
        Decision: {
            /** Format: uuid */
            batch: string;
            /** @description Signals and emissions it rests on; at most 100. */
            causes: string[];
            /** @description US dollars spent on calls outside, decimal text. */
            costUsd: string;
            /** Format: date-time */
            createdAt: string;
            /** @description From the opening of its batch to its commit. */
            durationMs: number;
            effect: {
                approval: {
                    allowRequester?: boolean;
                    approvers?: {
                        /** @default [] */
                        roles: string[];
                        /** @default [] */
                        teams: string[];
                        /** @default [] */
                        users: string[];
                    };
                    /** @default 86400 */
                    deadlineSeconds: number;
                    escalation?: {
                        afterSeconds: number;
                        approvers?: {
                            /** @default [] */
                            roles: string[];
                            /** @default [] */
                            teams: string[];
                            /** @default [] */
                            users: string[];
                        };
                        connection: string;
                    };
                    links?: boolean;
                    /** @default approvals:write */
                    permission: string;
                    /** @default 1 */
                    required: number;
                } | null;
                notify: {
                    connection: string;
                    message: string;
                    title: string;
                } | null;
                operation: {
                    input: unknown;
                    type: string;
                } | null;
            } | null;
            effectFailure: string | null;
            /** @enum {string} */
            effectState: "none" | "pending" | "awaiting-approval" | "done" | "refused" | "failed";
            /** Format: date-time */
            eventTime: string;
            /** @description What the neuron looked at. */
            evidence: unknown;
            /** Format: uuid */
            id: string;
            /** @description Decisions of one neuron with the same key within its cooldown are one. */
            key: string | null;
            layer: string;
            neuron: {
                /** Format: uuid */
                id: string;
                name: string;
                version: number;
            };
            reason: string;
            /** @description The run its effect started. */
            runId: string | null;
            severity: string;
            summary: string;
        };
        Delivery: {
            /** @enum {string} */
            action: "trigger" | "resolve";
            attempts: number;
            /** Format: uuid */
            connectionId: string;
            connectionName: string;
            /** Format: date-time */
            createdAt: string;
            dedupKey: string;
            deliveredAt: string | null;
            /**
             * Format: uuid
             * @description The same in every attempt: the webhook-id, and part of the Message-ID of a mail.
             */
            id: string;
            kind: string;
            lastFailure: string | null;
            /** @enum {string} */
            severity: "info" | "warning" | "critical";
            /**
             * @description `queued`: the next attempt is to come; `failed`: for good.
             * @enum {string}
             */
            state: "queued" | "sending" | "delivered" | "failed";
            title: string;
        };
        DomainClaim: {
            /** @description Null until an administrator of the platform has confirmed it. */
            confirmedAt: string | null;
            /** Format: date-time */
            createdAt: string;
            domain: string;
            /** Format: uuid */
            providerId: string;
        };
        EndpointDelivery: {
            attempts: number;
            /** Format: date-time */
            createdAt: string;
            data: {
                [key: string]: unknown;
            };
            doneAt: string | null;
            /** Format: uuid */
            endpoint: string;
            /** Format: uuid */
            id: string;
            lastFailure: string | null;
            nextAt: string | null;
            /**
             * @description `failed`: the schedule is used up. `abandoned`: the endpoint was switched off.
             * @enum {string}
             */
            state: "pending" | "delivered" | "failed" | "abandoned";
            type: string;
            /** @description The header `webhook-id`: the same in every attempt. */
            webhookId: string;
        };
        EndpointDeliveryDetail: {
            attempts: number;
            /** Format: date-time */
            createdAt: string;
            data: {
                [key: string]: unknown;
            };
            doneAt: string | null;
            /** Format: uuid */
            endpoint: string;
            /** Format: uuid */
            id: string;
            lastFailure: string | null;
            /** @description Every attempt, oldest first. */
            log: {
                /** Format: date-time */
                at: string;
                durationMs: number;
                failure: string | null;
                httpStatus: number | null;
            }[];
            nextAt: string | null;
            /**
             * @description `failed`: the schedule is used up. `abandoned`: the endpoint was switched off.
             * @enum {string}
             */
            state: "pending" | "delivered" | "failed" | "abandoned";
            type: string;
            /** @description The header `webhook-id`: the same in every attempt. */
            webhookId: string;
        };
        Erasure: {
            /** Format: date-time */
            dueAt: string;
            finishedAt: string | null;
            hasReceipt: boolean;
            /** Format: uuid */
            id: string;
            kept: {
                column: string;
                rows: number;
                source: string;
                table: string;
                why: string;
            }[];
            /** @description What stands in the way, and where somebody must act. */
            reasons: string[];
            /** Format: date-time */
            requestedAt: string;
            requestedBy: string;
            runId: string;
            /** @enum {string} */
            state: "requested" | "blocked" | "waiting" | "erasing" | "complete" | "denied";
            /** @description What the rehearsal found, then what was done. */
            tables: {
                /**
                 * @description `none`: the rows hold nothing personal, or are kept; see `why`.
                 * @enum {string}
                 */
                method: "mask" | "delete" | "none";
                /** @description Rows of the person. */
                rows: number;
                /** @description Rows that stay because rows of others point at them too. */
                shared: number;
                source: string;
                table: string;
                why: string;
            }[];
            verification: string;
        };
        ErasureSummary: {
            /** Format: date-time */
            dueAt: string;
            finishedAt: string | null;
            hasReceipt: boolean;
            /** Format: uuid */
            id: string;
            /** @description What stands in the way, and where somebody must act. */
            reasons: string[];
            /** Format: date-time */
            requestedAt: string;
            requestedBy: string;
            runId: string;
            /** @enum {string} */
            state: "requested" | "blocked" | "waiting" | "erasing" | "complete" | "denied";
            verification: string;
        };
        Evidence: {
            /** Format: date-time */
            at: string;
            /** @description SHA-256 over control, time, result, numbers and the hash before. */
            hash: string;
            /** @description What was counted. */
            numbers: {
                [key: string]: number;
            };
            previousHash: string | null;
            /**
             * @description `error`: the question could not be answered.
             * @enum {string}
             */
            result: "passed" | "failed" | "error";
        };
        ExportRecipient: {
            /** @description A public key of the person, as `age-keygen` writes it. */
            ageRecipient: string;
        } | {
            /** @description Told to the person by another way than the link. */
            passphrase: string;
        };
        FactorList: {
            factors: {
                /** Format: date-time */
                createdAt: string;
                /** Format: uuid */
                id: string;
                /** @enum {string} */
                kind: "totp" | "webauthn";
                lastUsedAt: string | null;
                name: string;
            }[];
            /** @description How many are left. */
            recoveryCodes: number;
            /** @description Whether the organisation requires a second factor. */
            required: boolean;
        };
        FactorsOwed: {
            /** @description Whether a first factor must be added now. */
            enrol: boolean;
            password?: boolean;
            recovery: boolean;
            totp: boolean;
            webauthn: {
                /** Format: uuid */
                challengeId: string;
                options: {
                    [key: string]: unknown;
                };
            } | null;
        };
        FailureGroup: {
            count: number;
            failure: string;
            /** Format: date-time */
            firstAt: string;
            /** Format: date-time */
            lastAt: string;
            operation: string;
            /** @description Ids of the latest of them. */
            samples: string[];
        };
        FailureType: {
            /** @enum {string} */
            owner: "user" | "us" | "outside";
            remedy: string;
            retryable: boolean;
            status: number;
            title: string;
            type: string;
        };
        Features: {
            /** @description What holds for the caller; a feature nobody toggles is not here. */
            features: {
                [key: string]: boolean;
            };
        };
        HealthPicture: {
            components: components["schemas"]["ComponentHealth"][];
            recoveries: components["schemas"]["HealthRecovery"][];
            /**
             * @description The worst state of all components.
             * @enum {string}
             */
            state: "healthy" | "degraded" | "unhealthy";
        };
        HealthRecovery: {
            action: string;
            component: string;
            /** Format: date-time */
            endedAt: string;
            /** @enum {string} */
            outcome: "succeeded" | "failed";
            reason: string;
            /** Format: date-time */
            startedAt: string;
        };
        HookReceipt: {
            accepted: number;
            duplicates: number;
            /** @description HAL9's ids of the signals. */
            ids: string[];
        };
        IdentityProvider: {
            /** @description What to enter at the provider, e.g. `redirect`. They hold the organisation's slug, or its id while it has none. */
            addresses: {
                [key: string]: string;
            };
            /** Format: date-time */
            createdAt: string;
            enabled: boolean;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            kind: "oidc" | "saml" | "ldap";
            /** @description What the last test found, in plain words. */
            lastFailure: string | null;
            lastTestedAt: string | null;
            name: string;
            preset: ("okta" | "entra-id" | "google" | "active-directory") | null;
            provisions: boolean;
            roleMapping: {
                /**
                 * @description Roles of everybody who signs in by the provider.
                 * @default []
                 */
                default: string[];
                /**
                 * @description Roles by the provider's group.
                 * @default {}
                 */
                groups: {
                    [key: string]: string[];
                };
            };
            /** @description Names of the secret settings that are set. */
            secrets: string[];
            /** @description What is no secret. */
            settings: {
                [key: string]: unknown;
            };
            /** @enum {string} */
            state: "untested" | "ok" | "failed";
            /** Format: date-time */
            updatedAt: string;
            updatedBy: string;
            version: number;
        };
        Impersonation: {
            /** Format: uuid */
            sessionId: string;
        };
        Incident: {
            /** @description The likely cause, as the correlator ranks it. */
            cause: string | null;
            /** @description Of its latest emission. */
            data: unknown;
            decisions: {
                /** Format: date-time */
                createdAt: string;
                /** Format: uuid */
                id: string;
                reason: string;
                runId: string | null;
                severity: string;
                state: string;
                summary: string;
            }[];
            emissions: string[];
            /** @description `data.incidentId` of its emissions. */
            id: string;
            /** @description What belongs to it, as the correlator names them. */
            members: unknown[];
            /** Format: date-time */
            openedAt: string;
            runs: string[];
            severity: string;
            /** @description `opened`, `updated` or `closed`. */
            state: string;
            subject: string | null;
            /** Format: date-time */
            updatedAt: string;
        };
        Invitation: {
            acceptedAt: string | null;
            acceptedBy: string | null;
            /** Format: date-time */
            createdAt: string;
            email: string | null;
            /** Format: date-time */
            expiresAt: string;
            /** Format: uuid */
            id: string;
            /** @description The user who invited; null for a key. */
            invitedBy: string | null;
            /** @description Whether a mail server took it. */
            mailed: boolean;
            revokedAt: string | null;
            roles: string[];
            teamIds: string[];
            userId: string | null;
        };
        LegalHold: {
            /** Format: date-time */
            createdAt: string;
            createdBy: string;
            everybody: boolean;
            /** Format: uuid */
            id: string;
            reason: string;
            releasedAt: string | null;
            source: string | null;
            table: string | null;
            until: string | null;
        };
        Memory: {
            /** @description Whether it is about somebody, whose key seals it. */
            about: boolean;
            content: {
                [key: string]: unknown;
            };
            /** Format: date-time */
            createdAt: string;
            /** @description SHA-256 of the sealed content: what a stream with the source `memory` anchors. */
            digest: string;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            kind: "fact" | "outcome" | "evidence";
            topic: string;
            weight: number | null;
            writtenBy: string;
        };
        MemoryDraft: {
            content: {
                [key: string]: unknown;
            };
            /**
             * @default fact
             * @enum {string}
             */
            kind: "fact" | "outcome" | "evidence";
            /** @description `kind:value`, e.g. `email:ada@example.net` or `host:web-1`. Its key seals the memory, and an erasure of it destroys that key. Kept as a keyed hash. */
            subject?: string;
            /** @description What memories are recalled by, e.g. `restart`. */
            topic: string;
            /** @description Weight of evidence in nats: the natural logarithm of how much likelier it is if the thing is so than if it is not. Weights of independent evidence add up. */
            weight?: number;
        };
        Neuron: {
            behaviour: {
                /** @constant */
                kind: "rules";
                /**
                 * @default first
                 * @enum {string}
                 */
                match: "first" | "all";
                rules: {
                    decide?: {
                        approval?: {
                            allowRequester?: boolean;
                            approvers?: {
                                /** @default [] */
                                roles: string[];
                                /** @default [] */
                                teams: string[];
                                /** @default [] */
                                users: string[];
                            };
                            /** @default 86400 */
                            deadlineSeconds: number;
                            escalation?: {
                                afterSeconds: number;
                                approvers?: {
                                    /** @default [] */
                                    roles: string[];
                                    /** @default [] */
                                    teams: string[];
                                    /** @default [] */
                                    users: string[];
                                };
                                connection: string;
                            };
                            links?: boolean;
                            /** @default approvals:write */
                            permission: string;
                            /** @default 1 */
                            required: number;
                        };
                        /** @default 0 */
                        cooldownSeconds: number;
                        key?: string;
                        notify?: {
                            connection: string;
                            message: string;
                            title: string;
                        };
                        operation?: {
                            input: string;
                            type: string;
                        };
                        reason: string;
                        /**
                         * @default info
                         * @enum {string}
                         */
                        severity: "info" | "warning" | "critical";
                        summary: string;
                    };
                    delegate?: {
                        data?: string;
                        /** @enum {string} */
                        layer: "L2" | "L3";
                        subject?: string;
                        type: string;
                    };
                    emit?: {
                        correlationKey?: string;
                        data?: string;
                        /**
                         * @default info
                         * @enum {string}
                         */
                        severity: "info" | "warning" | "critical";
                        subject?: string;
                        type: string;
                    };
                    name?: string;
                    when: string;
                }[];
            } | {
                above?: number;
                /** @default true */
                baseline: boolean;
                below?: number;
                /**
                 * @default both
                 * @enum {string}
                 */
                direction: "both" | "up" | "down";
                /**
                 * @default {
                 *       "type": "hal9.anomaly",
                 *       "severity": "warning"
                 *     }
                 */
                emit: {
                    correlationKey?: string;
                    data?: string;
                    /**
                     * @default info
                     * @enum {string}
                     */
                    severity: "info" | "warning" | "critical";
                    subject?: string;
                    type: string;
                };
                /** @constant */
                kind: "detector";
                /** @default 0 */
                minimumDeviation: number;
                /** @default 0 */
                refractorySeconds: number;
                /**
                 * @default [
                 *       86400,
                 *       604800
                 *     ]
                 */
                seasonsSeconds: number[];
                series?: string;
                sustainedBy?: string;
                /** @default 0 */
                sustainGapSeconds: number;
                /** @default 0 */
                sustainSeconds: number;
                /** @default 0.9998 */
                threshold: number;
                /** @default signal.data.value */
                value: string;
                /** @default 600 */
                warmUp: number;
            } | {
                activeSeconds?: number;
                /** @default [] */
                causes: {
                    cause: string;
                    data?: string;
                    /** @default 1 */
                    weight: number;
                    when: string;
                }[];
                /**
                 * @default layer
                 * @enum {string}
                 */
                clock: "layer" | "key";
                /**
                 * @default {
                 *       "type": "hal9.incident",
                 *       "severity": "warning"
                 *     }
                 */
                emit: {
                    correlationKey?: string;
                    data?: string;
                    /**
                     * @default info
                     * @enum {string}
                     */
                    severity: "info" | "warning" | "critical";
                    subject?: string;
                    type: string;
                };
                /** @default 30 */
                gapSeconds: number;
                /** @default "all" */
                key: string;
                /** @constant */
                kind: "correlator";
                /** @default 5 */
                latenessSeconds: number;
                /** @default 3600 */
                maxSeconds: number;
                member?: string;
                /** @default 1 */
                minMembers: number;
                /** @default 3 */
                settleSeconds: number;
            } | {
                answer: {
                    [key: string]: unknown;
                };
                connection: string;
                /** @default [] */
                fallback: {
                    decide?: {
                        approval?: {
                            allowRequester?: boolean;
                            approvers?: {
                                /** @default [] */
                                roles: string[];
                                /** @default [] */
                                teams: string[];
                                /** @default [] */
                                users: string[];
                            };
                            /** @default 86400 */
                            deadlineSeconds: number;
                            escalation?: {
                                afterSeconds: number;
                                approvers?: {
                                    /** @default [] */
                                    roles: string[];
                                    /** @default [] */
                                    teams: string[];
                                    /** @default [] */
                                    users: string[];
                                };
                                connection: string;
                            };
                            links?: boolean;
                            /** @default approvals:write */
                            permission: string;
                            /** @default 1 */
                            required: number;
                        };
                        /** @default 0 */
                        cooldownSeconds: number;
                        key?: string;
                        notify?: {
                            connection: string;
                            message: string;
                            title: string;
                        };
                        operation?: {
                            input: string;
                            type: string;
                        };
                        reason: string;
                        /**
                         * @default info
                         * @enum {string}
                         */
                        severity: "info" | "warning" | "critical";
                        summary: string;
                    };
                    delegate?: {
                        data?: string;
                        /** @enum {string} */
                        layer: "L2" | "L3";
                        subject?: string;
                        type: string;
                    };
                    emit?: {
                        correlationKey?: string;
                        data?: string;
                        /**
                         * @default info
                         * @enum {string}
                         */
                        severity: "info" | "warning" | "critical";
                        subject?: string;
                        type: string;
                    };
                    name?: string;
                    when: string;
                }[];
                /** @constant */
                kind: "llm";
                /** @default 1024 */
                maxOutputTokens: number;
                model: string;
                /** @default {} */
                perCascade: {
                    calls?: number;
                    tokens?: number;
                    usd?: number;
                };
                price: {
                    input: number;
                    output: number;
                };
                prompt: string;
                recall?: {
                    /** @enum {string} */
                    kind?: "fact" | "outcome" | "evidence";
                    /** @default 10 */
                    limit: number;
                    subject?: string;
                    /** @description What memories are recalled by, e.g. `restart`. */
                    topic: string;
                };
                rules: {
                    decide?: {
                        approval?: {
                            allowRequester?: boolean;
                            approvers?: {
                                /** @default [] */
                                roles: string[];
                                /** @default [] */
                                teams: string[];
                                /** @default [] */
                                users: string[];
                            };
                            /** @default 86400 */
                            deadlineSeconds: number;
                            escalation?: {
                                afterSeconds: number;
                                approvers?: {
                                    /** @default [] */
                                    roles: string[];
                                    /** @default [] */
                                    teams: string[];
                                    /** @default [] */
                                    users: string[];
                                };
                                connection: string;
                            };
                            links?: boolean;
                            /** @default approvals:write */
                            permission: string;
                            /** @default 1 */
                            required: number;
                        };
                        /** @default 0 */
                        cooldownSeconds: number;
                        key?: string;
                        notify?: {
                            connection: string;
                            message: string;
                            title: string;
                        };
                        operation?: {
                            input: string;
                            type: string;
                        };
                        reason: string;
                        /**
                         * @default info
                         * @enum {string}
                         */
                        severity: "info" | "warning" | "critical";
                        summary: string;
                    };
                    delegate?: {
                        data?: string;
                        /** @enum {string} */
                        layer: "L2" | "L3";
                        subject?: string;
                        type: string;
                    };
                    emit?: {
                        correlationKey?: string;
                        data?: string;
                        /**
                         * @default info
                         * @enum {string}
                         */
                        severity: "info" | "warning" | "critical";
                        subject?: string;
                        type: string;
                    };
                    name?: string;
                    when: string;
                }[];
                system: string;
                /** @default 60 */
                timeoutSeconds: number;
            } | {
                body?: string;
                connection?: string;
                /** @default [] */
                fallback: {
                    decide?: {
                        approval?: {
                            allowRequester?: boolean;
                            approvers?: {
                                /** @default [] */
                                roles: string[];
                                /** @default [] */
                                teams: string[];
                                /** @default [] */
                                users: string[];
                            };
                            /** @default 86400 */
                            deadlineSeconds: number;
                            escalation?: {
                                afterSeconds: number;
                                approvers?: {
                                    /** @default [] */
                                    roles: string[];
                                    /** @default [] */
                                    teams: string[];
                                    /** @default [] */
                                    users: string[];
                                };
                                connection: string;
                            };
                            links?: boolean;
                            /** @default approvals:write */
                            permission: string;
                            /** @default 1 */
                            required: number;
                        };
                        /** @default 0 */
                        cooldownSeconds: number;
                        key?: string;
                        notify?: {
                            connection: string;
                            message: string;
                            title: string;
                        };
                        operation?: {
                            input: string;
                            type: string;
                        };
                        reason: string;
                        /**
                         * @default info
                         * @enum {string}
                         */
                        severity: "info" | "warning" | "critical";
                        summary: string;
                    };
                    delegate?: {
                        data?: string;
                        /** @enum {string} */
                        layer: "L2" | "L3";
                        subject?: string;
                        type: string;
                    };
                    emit?: {
                        correlationKey?: string;
                        data?: string;
                        /**
                         * @default info
                         * @enum {string}
                         */
                        severity: "info" | "warning" | "critical";
                        subject?: string;
                        type: string;
                    };
                    name?: string;
                    when: string;
                }[];
                /** @constant */
                kind: "http";
                /**
                 * @default POST
                 * @enum {string}
                 */
                method: "GET" | "POST" | "PUT";
                recall?: {
                    /** @enum {string} */
                    kind?: "fact" | "outcome" | "evidence";
                    /** @default 10 */
                    limit: number;
                    subject?: string;
                    /** @description What memories are recalled by, e.g. `restart`. */
                    topic: string;
                };
                rules: {
                    decide?: {
                        approval?: {
                            allowRequester?: boolean;
                            approvers?: {
                                /** @default [] */
                                roles: string[];
                                /** @default [] */
                                teams: string[];
                                /** @default [] */
                                users: string[];
                            };
                            /** @default 86400 */
                            deadlineSeconds: number;
                            escalation?: {
                                afterSeconds: number;
                                approvers?: {
                                    /** @default [] */
                                    roles: string[];
                                    /** @default [] */
                                    teams: string[];
                                    /** @default [] */
                                    users: string[];
                                };
                                connection: string;
                            };
                            links?: boolean;
                            /** @default approvals:write */
                            permission: string;
                            /** @default 1 */
                            required: number;
                        };
                        /** @default 0 */
                        cooldownSeconds: number;
                        key?: string;
                        notify?: {
                            connection: string;
                            message: string;
                            title: string;
                        };
                        operation?: {
                            input: string;
                            type: string;
                        };
                        reason: string;
                        /**
                         * @default info
                         * @enum {string}
                         */
                        severity: "info" | "warning" | "critical";
                        summary: string;
                    };
                    delegate?: {
                        data?: string;
                        /** @enum {string} */
                        layer: "L2" | "L3";
                        subject?: string;
                        type: string;
                    };
                    emit?: {
                        correlationKey?: string;
                        data?: string;
                        /**
                         * @default info
                         * @enum {string}
                         */
                        severity: "info" | "warning" | "critical";
                        subject?: string;
                        type: string;
                    };
                    name?: string;
                    when: string;
                }[];
                /** @default 10 */
                timeoutSeconds: number;
                /** Format: uri */
                url: string;
            };
            /**
             * @default {
             *       "failures": 5,
             *       "resetSeconds": 30
             *     }
             */
            breaker: {
                /** @default 5 */
                failures: number;
                /** @default 30 */
                resetSeconds: number;
            };
            /** Format: date-time */
            createdAt: string;
            /** @default  */
            description: string;
            /** @default true */
            enabled: boolean;
            /** @default 10 */
            fanOut: number;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            layer: "L2" | "L3" | "L4";
            name: string;
            subscription: {
                filter?: string;
                sources?: string[];
                types: string[];
            };
            /** Format: date-time */
            updatedAt: string;
            /** @description Grows with every change; send it back in If-Match. */
            version: number;
        };
        NeuronDetail: {
            behaviour: {
                /** @constant */
                kind: "rules";
                /**
                 * @default first
                 * @enum {string}
                 */
                match: "first" | "all";
                rules: {
                    decide?: {
                        approval?: {
                            allowRequester?: boolean;
                            approvers?: {
                                /** @default [] */
                                roles: string[];
                                /** @default [] */
                                teams: string[];
                                /** @default [] */
                                users: string[];
                            };
                            /** @default 86400 */
                            deadlineSeconds: number;
                            escalation?: {
                                afterSeconds: number;
                                approvers?: {
                                    /** @default [] */
                                    roles: string[];
                                    /** @default [] */
                                    teams: string[];
                                    /** @default [] */
                                    users: string[];
                                };
                                connection: string;
                            };
                            links?: boolean;
                            /** @default approvals:write */
                            permission: string;
                            /** @default 1 */
                            required: number;
                        };
                        /** @default 0 */
                        cooldownSeconds: number;
                        key?: string;
                        notify?: {
                            connection: string;
                            message: string;
                            title: string;
                        };
                        operation?: {
                            input: string;
                            type: string;
                        };
                        reason: string;
                        /**
                         * @default info
                         * @enum {string}
                         */
                        severity: "info" | "warning" | "critical";
                        summary: string;
                    };
                    delegate?: {
                        data?: string;
                        /** @enum {string} */
                        layer: "L2" | "L3";
                        subject?: string;
                        type: string;
                    };
                    emit?: {
                        correlationKey?: string;
                        data?: string;
                        /**
                         * @default info
                         * @enum {string}
                         */
                        severity: "info" | "warning" | "critical";
                        subject?: string;
                        type: string;
                    };
                    name?: string;
                    when: string;
                }[];
            } | {
                above?: number;
                /** @default true */
                baseline: boolean;
                below?: number;
                /**
                 * @default both
                 * @enum {string}
                 */
                direction: "both" | "up" | "down";
                /**
                 * @default {
                 *       "type": "hal9.anomaly",
                 *       "severity": "warning"
                 *     }
                 */
                emit: {
                    correlationKey?: string;
                    data?: string;
                    /**
                     * @default info
                     * @enum {string}
                     */
                    severity: "info" | "warning" | "critical";
                    subject?: string;
                    type: string;
                };
                /** @constant */
                kind: "detector";
                /** @default 0 */
                minimumDeviation: number;
                /** @default 0 */
                refractorySeconds: number;
                /**
                 * @default [
                 *       86400,
                 *       604800
                 *     ]
                 */
                seasonsSeconds: number[];
                series?: string;
                sustainedBy?: string;
                /** @default 0 */
                sustainGapSeconds: number;
                /** @default 0 */
                sustainSeconds: number;
                /** @default 0.9998 */
                threshold: number;
                /** @default signal.data.value */
                value: string;
                /** @default 600 */
                warmUp: number;
            } | {
                activeSeconds?: number;
                /** @default [] */
                causes: {
                    cause: string;
                    data?: string;
                    /** @default 1 */
                    weight: number;
                    when: string;
                }[];
                /**
                 * @default layer
                 * @enum {string}
                 */
                clock: "layer" | "key";
                /**
                 * @default {
                 *       "type": "hal9.incident",
                 *       "severity": "warning"
                 *     }
                 */
                emit: {
                    correlationKey?: string;
                    data?: string;
                    /**
                     * @default info
                     * @enum {string}
                     */
                    severity: "info" | "warning" | "critical";
                    subject?: string;
                    type: string;
                };
                /** @default 30 */
                gapSeconds: number;
                /** @default "all" */
                key: string;
                /** @constant */
                kind: "correlator";
                /** @default 5 */
                latenessSeconds: number;
                /** @default 3600 */
                maxSeconds: number;
                member?: string;
                /** @default 1 */
                minMembers: number;
                /** @default 3 */
                settleSeconds: number;
            } | {
                answer: {
                    [key: string]: unknown;
                };
                connection: string;
                /** @default [] */
                fallback: {
                    decide?: {
                        approval?: {
                            allowRequester?: boolean;
                            approvers?: {
                                /** @default [] */
                                roles: string[];
                                /** @default [] */
                                teams: string[];
                                /** @default [] */
                                users: string[];
                            };
                            /** @default 86400 */
                            deadlineSeconds: number;
                            escalation?: {
                                afterSeconds: number;
                                approvers?: {
                                    /** @default [] */
                                    roles: string[];
                                    /** @default [] */
                                    teams: string[];
                                    /** @default [] */
                                    users: string[];
                                };
                                connection: string;
                            };
                            links?: boolean;
                            /** @default approvals:write */
                            permission: string;
                            /** @default 1 */
                            required: number;
                        };
                        /** @default 0 */
                        cooldownSeconds: number;
                        key?: string;
                        notify?: {
                            connection: string;
                            message: string;
                            title: string;
                        };
                        operation?: {
                            input: string;
                            type: string;
                        };
                        reason: string;
                        /**
                         * @default info
                         * @enum {string}
                         */
                        severity: "info" | "warning" | "critical";
                        summary: string;
                    };
                    delegate?: {
                        data?: string;
                        /** @enum {string} */
                        layer: "L2" | "L3";
                        subject?: string;
                        type: string;
                    };
                    emit?: {
                        correlationKey?: string;
                        data?: string;
                        /**
                         * @default info
                         * @enum {string}
                         */
                        severity: "info" | "warning" | "critical";
                        subject?: string;
                        type: string;
                    };
                    name?: string;
                    when: string;
                }[];
                /** @constant */
                kind: "llm";
                /** @default 1024 */
                maxOutputTokens: number;
                model: string;
                /** @default {} */
                perCascade: {
                    calls?: number;
                    tokens?: number;
                    usd?: number;
                };
                price: {
                    input: number;
                    output: number;
                };
                prompt: string;
                recall?: {
                    /** @enum {string} */
                    kind?: "fact" | "outcome" | "evidence";
                    /** @default 10 */
                    limit: number;
                    subject?: string;
                    /** @description What memories are recalled by, e.g. `restart`. */
                    topic: string;
                };
                rules: {
                    decide?: {
                        approval?: {
                            allowRequester?: boolean;
                            approvers?: {
                                /** @default [] */
                                roles: string[];
                                /** @default [] */
                                teams: string[];
                                /** @default [] */
                                users: string[];
                            };
                            /** @default 86400 */
                            deadlineSeconds: number;
                            escalation?: {
                                afterSeconds: number;
                                approvers?: {
                                    /** @default [] */
                                    roles: string[];
                                    /** @default [] */
                                    teams: string[];
                                    /** @default [] */
                                    users: string[];
                                };
                                connection: string;
                            };
                            links?: boolean;
                            /** @default approvals:write */
                            permission: string;
                            /** @default 1 */
                            required: number;
                        };
                        /** @default 0 */
                        cooldownSeconds: number;
                        key?: string;
                        notify?: {
                            connection: string;
                            message: string;
                            title: string;
                        };
                        operation?: {
                            input: string;
                            type: string;
                        };
                        reason: string;
                        /**
                         * @default info
                         * @enum {string}
                         */
                        severity: "info" | "warning" | "critical";
                        summary: string;
                    };
                    delegate?: {
                        data?: string;
                        /** @enum {string} */
                        layer: "L2" | "L3";
                        subject?: string;
                        type: string;
                    };
                    emit?: {
                        correlationKey?: string;
                        data?: string;
                        /**
                         * @default info
                         * @enum {string}
                         */
                        severity: "info" | "warning" | "critical";
                        subject?: string;
                        type: string;
                    };
                    name?: string;
                    when: string;
                }[];
                system: string;
                /** @default 60 */
                timeoutSeconds: number;
            } | {
                body?: string;
                connection?: string;
                /** @default [] */
                fallback: {
                    decide?: {
                        approval?: {
                            allowRequester?: boolean;
                            approvers?: {
                                /** @default [] */
                                roles: string[];
                                /** @default [] */
                                teams: string[];
                                /** @default [] */
                                users: string[];
                            };
                            /** @default 86400 */
                            deadlineSeconds: number;
                            escalation?: {
                                afterSeconds: number;
                                approvers?: {
                                    /** @default [] */
                                    roles: string[];
                                    /** @default [] */
                                    teams: string[];
                                    /** @default [] */
                                    users: string[];
                                };
                                connection: string;
                            };
                            links?: boolean;
                            /** @default approvals:write */
                            permission: string;
                            /** @default 1 */
                            required: number;
                        };
                        /** @default 0 */
                        cooldownSeconds: number;
                        key?: string;
                        notify?: {
                            connection: string;
                            message: string;
                            title: string;
                        };
                        operation?: {
                            input: string;
                            type: string;
                        };
                        reason: string;
                        /**
                         * @default info
                         * @enum {string}
                         */
                        severity: "info" | "warning" | "critical";
                        summary: string;
                    };
                    delegate?: {
                        data?: string;
                        /** @enum {string} */
                        layer: "L2" | "L3";
                        subject?: string;
                        type: string;
                    };
                    emit?: {
                        correlationKey?: string;
                        data?: string;
                        /**
                         * @default info
                         * @enum {string}
                         */
                        severity: "info" | "warning" | "critical";
                        subject?: string;
                        type: string;
                    };
                    name?: string;
                    when: string;
                }[];
                /** @constant */
                kind: "http";
                /**
                 * @default POST
                 * @enum {string}
                 */
                method: "GET" | "POST" | "PUT";
                recall?: {
                    /** @enum {string} */
                    kind?: "fact" | "outcome" | "evidence";
                    /** @default 10 */
                    limit: number;
                    subject?: string;
                    /** @description What memories are recalled by, e.g. `restart`. */
                    topic: string;
                };
                rules: {
                    decide?: {
                        approval?: {
                            allowRequester?: boolean;
                            approvers?: {
                                /** @default [] */
                                roles: string[];
                                /** @default [] */
                                teams: string[];
                                /** @default [] */
                                users: string[];
                            };
                            /** @default 86400 */
                            deadlineSeconds: number;
                            escalation?: {
                                afterSeconds: number;
                                approvers?: {
                                    /** @default [] */
                                    roles: string[];
                                    /** @default [] */
                                    teams: string[];
                                    /** @default [] */
                                    users: string[];
                                };
                                connection: string;
                            };
                            links?: boolean;
                            /** @default approvals:write */
                            permission: string;
                            /** @default 1 */
                            required: number;
                        };
                        /** @default 0 */
                        cooldownSeconds: number;
                        key?: string;
                        notify?: {
                            connection: string;
                            message: string;
                            title: string;
                        };
                        operation?: {
                            input: string;
                            type: string;
                        };
                        reason: string;
                        /**
                         * @default info
                         * @enum {string}
                         */
                        severity: "info" | "warning" | "critical";
                        summary: string;
                    };
                    delegate?: {
                        data?: string;
                        /** @enum {string} */
                        layer: "L2" | "L3";
                        subject?: string;
                        type: string;
                    };
                    emit?: {
                        correlationKey?: string;
                        data?: string;
                        /**
                         * @default info
                         * @enum {string}
                         */
                        severity: "info" | "warning" | "critical";
                        subject?: string;
                        type: string;
                    };
                    name?: string;
                    when: string;
                }[];
                /** @default 10 */
                timeoutSeconds: number;
                /** Format: uri */
                url: string;
            };
            /**
             * @default {
             *       "failures": 5,
             *       "resetSeconds": 30
             *     }
             */
            breaker: {
                /** @default 5 */
                failures: number;
                /** @default 30 */
                resetSeconds: number;
            };
            /** @description Circuit breaker of an llm or http neuron; null for the other kinds. */
            circuit: {
                /** @description Failures in a row. */
                failures: number;
                lastFailure: string | null;
                openedAt: string | null;
                retryAt: string | null;
                /**
                 * @description `open`: calls are not made and the fallback rules run; `half-open`: the next call tries.
                 * @enum {string}
                 */
                state: "closed" | "open" | "half-open";
            } | null;
            /** Format: date-time */
            createdAt: string;
            /** @default  */
            description: string;
            /** @default true */
            enabled: boolean;
            /** @default 10 */
            fanOut: number;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            layer: "L2" | "L3" | "L4";
            name: string;
            subscription: {
                filter?: string;
                sources?: string[];
                types: string[];
            };
            /** Format: date-time */
            updatedAt: string;
            /** @description Grows with every change; send it back in If-Match. */
            version: number;
        };
        NeuronTestResult: {
            decisions: {
                approval: unknown;
                key: string | null;
                notify: unknown;
                operation: unknown;
                reason: string;
                severity: string;
                signal: number | null;
                summary: string;
            }[];
            emissions: {
                correlationKey: string;
                data: unknown;
                /** @enum {string} */
                direction: "up" | "down";
                severity: string;
                /** @description Position in `signals` of its latest cause; null for a window that closed. */
                signal: number | null;
                subject: string | null;
                /** @enum {string} */
                targetLayer: "L2" | "L3" | "L4";
                type: string;
            }[];
            /** @description Signals the neuron was evaluated on. */
            evaluations: number;
            /** @description Calls it would make; a test makes none. */
            externalCalls: number;
            failures: {
                cause: string;
                signal: number | null;
            }[];
        };
        Organisation: {
            /** Format: date-time */
            createdAt: string;
            /** Format: uuid */
            id: string;
            name: string;
            parentId: string | null;
            region: string;
            slug: string | null;
            /** @description Since when nothing of it works; one above may be suspended, too. */
            suspendedAt: string | null;
        };
        OrganisationPlan: {
            entitlements: {
                limits: {
                    [key: string]: number | null;
                };
                /** @enum {string} */
                plan: "free" | "starter" | "professional" | "enterprise";
                quotas: {
                    [key: string]: {
                        /** @description Of one calendar month (UTC). Null: none. */
                        hard: number | null;
                        /** @description Of one calendar month (UTC). Null: none. */
                        soft: number | null;
                    };
                };
            };
            /** Format: uuid */
            organisation: string;
            overrides: {
                limits?: {
                    [key: string]: number | null;
                };
                quotas?: {
                    [key: string]: {
                        hard?: number | null;
                        soft?: number | null;
                    };
                };
            };
            /** @enum {string} */
            plan: "free" | "starter" | "professional" | "enterprise";
            /** Format: date-time */
            updatedAt: string;
            /** @description Kind and id, or `default`. */
            updatedBy: string;
        };
        PrivacyChange: {
            /** Format: date-time */
            dueAt: string;
            finishedAt: string | null;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            kind: "rectification" | "consent" | "restriction";
            /** @description What stands in the way, and who must act. */
            reasons: string[];
            /** Format: date-time */
            requestedAt: string;
            requestedBy: string;
            runId: string;
            /** @enum {string} */
            state: "requested" | "blocked" | "changing" | "complete" | "superseded";
            /** @description What was found to hold something else, then how much of it was changed. */
            tables: {
                /** @description Of these, changed by HAL9. */
                changed: number;
                /** @description Records of the person that held, or hold, something else. */
                rows: number;
                source: string;
                table: string;
            }[];
            /** @description Categories of data, the purpose of a consent, or `processing`. Never a value. */
            topics: string[];
            verification: string;
            /** @description `corrected`, `given`, `withdrawn`, `on` or `off`. */
            wanted: string;
        };
        PrivacyChangeSummary: {
            /** Format: date-time */
            dueAt: string;
            finishedAt: string | null;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            kind: "rectification" | "consent" | "restriction";
            /** @description What stands in the way, and who must act. */
            reasons: string[];
            /** Format: date-time */
            requestedAt: string;
            requestedBy: string;
            runId: string;
            /** @enum {string} */
            state: "requested" | "blocked" | "changing" | "complete" | "superseded";
            /** @description Categories of data, the purpose of a consent, or `processing`. Never a value. */
            topics: string[];
            verification: string;
            /** @description `corrected`, `given`, `withdrawn`, `on` or `off`. */
            wanted: string;
        };
        PrivacyPolicy: {
            /** @description People who must agree before anything is destroyed. */
            approvals: number;
            /** @description Connection that carries questions and reminders. */
            connection: string | null;
            /** @description Art. 12(3) GDPR: a month. */
            deadlineDays: number;
            /** @description Days before the deadline on which people are reminded. */
            remindDays: number[];
        };
        PrivacySource: {
            annotations: string;
            /** Format: date-time */
            createdAt: string;
            database: string | null;
            /** @description Null when no master key opens the address. */
            host: string | null;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            kind: "postgres" | "redis" | "s3" | "http" | "manual";
            name: string;
            /** Format: date-time */
            updatedAt: string;
            updatedBy: string;
            version: number;
        };
        PrivacyTask: {
            /** @description Or the change. */
            changeId: string | null;
            /** Format: date-time */
            createdAt: string;
            /** Format: date-time */
            dueAt: string;
            endedAt: string | null;
            /** @description The erasure that it is a part of. */
            erasureId: string | null;
            /** Format: uuid */
            id: string;
            instructions: string;
            name: string;
            note: string | null;
            source: string;
            /** @enum {string} */
            state: "open" | "taken" | "done" | "refused";
            /** @description `<kind>:<id>`. */
            takenBy: string | null;
        };
        PrivacyTaskTaken: {
            /** @description What becomes of their data; null when they are erased. */
            change: (components["schemas"]["RectificationChange"] | components["schemas"]["ConsentChange"] | components["schemas"]["RestrictionChange"]) | null;
            /** @description Or the change. */
            changeId: string | null;
            /** Format: date-time */
            createdAt: string;
            /** Format: date-time */
            dueAt: string;
            endedAt: string | null;
            /** @description The erasure that it is a part of. */
            erasureId: string | null;
            /** Format: uuid */
            id: string;
            /** @description Who it is about, by kind. */
            identities: {
                [key: string]: string[];
            };
            instructions: string;
            name: string;
            note: string | null;
            source: string;
            /** @enum {string} */
            state: "open" | "taken" | "done" | "refused";
            /** @description `<kind>:<id>`. */
            takenBy: string | null;
        };
        Problem: {
            detail: string;
            errors: {
                message: string;
                /** @description JSON pointer to the offending field. */
                path: string;
            }[];
            /** @description The request id, also in X-Request-Id and in the logs. */
            instance: string;
            /** @description What you can do now. */
            remedy: string;
            /** @description Whether the same request may succeed later without a change. */
            retryable: boolean;
            status: number;
            title: string;
            /** @description Path of the page that explains this kind of failure; its last segment is the failure type. */
            type: string;
        };
        ProblemOutput: components["schemas"]["Problem"];
        ProviderLogout: {
            /** @description Where to send the browser so that the provider ends its session too; null when there is nothing to end there. */
            location: string | null;
        };
        Readiness: {
            dependencies: {
                latencyMs: number;
                name: string;
                /** @enum {string} */
                state: "up" | "down";
            }[];
            /** @enum {string} */
            status: "ready" | "not-ready" | "draining";
        };
        RecalledMemories: {
            items: components["schemas"]["Memory"][];
            nextCursor: string | null;
            /** @description Sum of the weights of all that was asked for, not of this page alone. */
            weight: number;
        };
        RecordedConsent: {
            /**
             * Format: date-time
             * @description When the person decided.
             */
            at: string;
            /** @description See GET /v1/privacy/changes/{id}; null without `identities`. */
            changeId: string | null;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            legalBasis: "consent" | "explicit-consent" | "contract" | "legal-obligation" | "vital-interests" | "public-task" | "legitimate-interests";
            proofSha256: string | null;
            /** @description E.g. `newsletter`. */
            purpose: string;
            /** Format: date-time */
            recordedAt: string;
            /** @description Kind and id. */
            recordedBy: string;
            source: string;
            /** @enum {string} */
            state: "given" | "withdrawn";
            textVersion: string;
        };
        RectificationChange: {
            corrections: components["schemas"]["Correction"][];
            /** @constant */
            kind: "rectification";
        };
        RemediationAction: {
            action: string;
            cause: string;
            /** Format: date-time */
            createdAt: string;
            detail: string;
            finishedAt: string | null;
            hostId: string;
            /** Format: uuid */
            id: string;
            incidentId: string;
            /** @description The run that asked. */
            runId: string;
            /**
             * @description `started`: it may or may not have happened; the agent reads which after an interruption.
             * @enum {string}
             */
            state: "started" | "done" | "failed" | "refused";
            step: number;
            /** @description In words: process and pid, session, folder. */
            target: string;
        };
        Replay: {
            dryRun: boolean;
            /**
             * @description What a second execution of the operation does to the world; with `dryRun`.
             * @enum {string}
             */
            effect?: "pure" | "idempotent" | "irreversible";
            /** @description Counts the replays of the run, this one included. */
            epoch: number;
            /** @description Steps that happened and happen again. */
            repeated: {
                attempts: number;
                eventId: number;
                /** @enum {string} */
                kind: "run" | "activity" | "local-activity" | "child" | "timer" | "signal" | "update" | "cancellation";
                name: string;
                /** @enum {string} */
                state: "open" | "running" | "completed" | "failed" | "timed-out" | "cancelled" | "terminated";
            }[];
            runId: string;
        };
        RestrictionChange: {
            /** @constant */
            kind: "restriction";
            /**
             * @description `on`: kept, and not used for anything else; `off`: lifted again.
             * @enum {string}
             */
            state: "on" | "off";
        };
        RetentionReport: {
            dryRun: boolean;
            finishedAt: string | null;
            /** Format: uuid */
            id: string;
            reasons: string[];
            runId: string;
            source: string;
            /** Format: date-time */
            startedAt: string;
            /**
             * @description `counted`: a dry run; `refused`: nothing was deleted, see the reasons; `incomplete`: something that has expired is still there.
             * @enum {string}
             */
            state: "running" | "counted" | "done" | "incomplete" | "refused";
            tables: {
                /**
                 * Format: date-time
                 * @description Rows whose time is before it have expired.
                 */
                cutoff: string;
                deleted: number;
                /** @description Rows to be deleted, counted before. */
                due: number;
                /** @description Expired rows that a legal hold on somebody keeps. */
                held: number;
                /** @description ISO 8601 duration of the policy. */
                keep: string;
                /** @description Rows that were to be deleted and are still there; null until it was looked again. */
                left: number | null;
                /** @description Partitions dropped as a whole; their rows are among the deleted. */
                partitions: string[];
                /** @description Expired rows that rows which stay point at. */
                referenced: number;
                /** @description The column it counts from. */
                since: string;
                table: string;
                /** @description Why nothing is deleted from this table. */
                why: string | null;
            }[];
        };
        RetentionReportSummary: {
            dryRun: boolean;
            finishedAt: string | null;
            /** Format: uuid */
            id: string;
            reasons: string[];
            runId: string;
            source: string;
            /** Format: date-time */
            startedAt: string;
            /**
             * @description `counted`: a dry run; `refused`: nothing was deleted, see the reasons; `incomplete`: something that has expired is still there.
             * @enum {string}
             */
            state: "running" | "counted" | "done" | "incomplete" | "refused";
        };
        Role: {
            /** @description With everything inherited. */
            allScopes: string[];
            description: string;
            inherits: string[];
            name: string;
            /** @description One of HAL9's own, the same everywhere. */
            predefined: boolean;
            reachesDescendants: boolean;
            scopes: string[];
        };
        RoleBinding: {
            /** @description See RoleConditions. */
            conditions: unknown;
            /** Format: date-time */
            createdAt: string;
            /** Format: uuid */
            id: string;
            /** @description The identity provider whose groups made it. */
            providerId: string | null;
            role: string;
            teamId: string | null;
            userId: string | null;
        };
        RoleConditions: {
            /** @description The request looks at most so unusual: 0 to 100. */
            maxRisk?: number;
            /** @description The request comes from one of these networks (CIDR). */
            networks?: (string)[];
            /** @description Only resources with one of the values for each attribute, e.g. `{"type": ["rollout"]}`. */
            resource?: {
                [key: string]: string[];
            };
            /** @description The request falls into one of these windows. */
            times?: {
                /**
                 * @description `HH:MM` of the zone.
                 * @default 00:00
                 */
                from: string;
                /**
                 * @description Exclusive; not later than `from` means the next day.
                 * @default 24:00
                 */
                to: string;
                /**
                 * @description ISO 8601: 1 is Monday. A window that crosses midnight belongs to the day it began on.
                 * @default [
                 *       1,
                 *       2,
                 *       3,
                 *       4,
                 *       5,
                 *       6,
                 *       7
                 *     ]
                 */
                weekdays: number[];
                /** @description IANA name, e.g. `Europe/Berlin`. */
                zone: string;
            }[];
            /** Format: date-time */
            validFrom?: string;
            /**
             * Format: date-time
             * @description Exclusive.
             */
            validUntil?: string;
        };
        Rollout: {
            closedAt: string | null;
            /** Format: date-time */
            createdAt: string;
            runId: string;
            /** @description Of the run; null until it is known, some hundred milliseconds after the start. */
            status: ("running" | "completed" | "failed" | "cancelled" | "terminated" | "timed-out") | null;
            /** @description Services by cluster, in the order they go out. Empty when the first could not be read. */
            units: components["schemas"]["RolloutUnit"][];
        };
        RolloutDetail: {
            closedAt: string | null;
            /** Format: date-time */
            createdAt: string;
            runId: string;
            /** @description Of the run; null until it is known, some hundred milliseconds after the start. */
            status: ("running" | "completed" | "failed" | "cancelled" | "terminated" | "timed-out") | null;
            /** @description What was done, in order. */
            steps: {
                /** Format: date-time */
                at: string;
                cluster: string;
                service: string;
                /** @description Per cent of the traffic that the new version gets since; null where the step changed none. */
                share: number | null;
                step: string;
            }[];
            /** @description Services by cluster, in the order they go out. Empty when the first could not be read. */
            units: components["schemas"]["RolloutUnit"][];
        };
        RolloutImport: {
            /** @description Documents that no rollout refers to. */
            ignored: string[];
            rollouts: {
                /** @enum {string} */
                format: "argo-rollouts" | "flagger";
                /** @description Input of the operation `rollout`, without what is as by default. */
                input: {
                    [key: string]: unknown;
                };
                /** @description Every field that was not carried over as it is. */
                notes: {
                    /**
                     * @description `lost`: HAL9 has nothing for it. `changed`: carried over with another meaning. `todo`: to be done by somebody.
                     * @enum {string}
                     */
                    kind: "lost" | "changed" | "todo";
                    message: string;
                    /** @description The object. */
                    of: string;
                    /** @description JSON pointer into the object. */
                    path: string;
                }[];
                /** @description What must be filled in before it can be started; empty when it can. */
                open: {
                    message: string;
                    path: string;
                }[];
                /** @description As `Rollout shop/web`. */
                source: string;
            }[];
        };
        RolloutUnit: {
            /** Format: date-time */
            changedAt: string;
            cluster: string;
            /** @description Images before, by container. */
            from: {
                [key: string]: string;
            };
            namespace: string;
            replicas: number;
            service: string;
            /** @enum {string} */
            state: "waiting" | "running" | "new" | "old" | "edited";
            /** @description As planned; null where the strategy has none. */
            steps: {
                /** @description People asked before. */
                approvals: number;
                soakSeconds: number;
                weight: number;
            }[] | null;
            /** @enum {string} */
            strategy: "rolling" | "canary" | "blue-green";
            /** @description Images afterwards. */
            to: {
                [key: string]: string;
            };
            wave: string;
            /** @description As `Deployment/web`. */
            workload: string;
        };
        RolloutVerdict: {
            /** Format: date-time */
            at: string;
            cluster: string;
            metric: string;
            /** @enum {string} */
            outcome: "pass" | "fail" | "inconclusive";
            queries: {
                [key: string]: string;
            };
            reason: string;
            samples: {
                [key: string]: (number | null)[];
            };
            seq: number;
            service: string;
            /** @description What was computed: numbers and words. */
            statistic: {
                [key: string]: unknown;
            };
            step: string;
            /** @description What it was held against: numbers and words. */
            threshold: {
                [key: string]: unknown;
            };
        };
        Run: {
            closedAt: string | null;
            /** @description How often it was replayed from a step. */
            epoch: number;
            /** @description Type of the failure that ended it. */
            failure: string | null;
            operation: string;
            /** @description What started it: `api`, `decision`, `schedule` or `dispatcher`. */
            origin: string;
            /** @description Since when it is held before its next step. */
            pausedAt: string | null;
            /** @description The run that was started with its input. */
            retriedBy: string | null;
            /** @description The run whose input it was started with again. */
            retryOf: string | null;
            runId: string;
            /** Format: date-time */
            startedAt: string;
            startedBy: string | null;
            /** @enum {string} */
            status: "running" | "completed" | "failed" | "cancelled" | "terminated" | "timed-out";
            tags: string[];
        };
        RunDetail: {
            closedAt: string | null;
            /** @description How often it was replayed from a step. */
            epoch: number;
            /** @description Type of the failure that ended it. */
            failure: string | null;
            historyLength: number | null;
            /** @description Of its concurrency key, with the fencing token; with `include=pending`. */
            lease: {
                /** @enum {string} */
                state: "queued" | "held";
                token: number | null;
            } | null;
            links: {
                result: string;
                self: string;
                /** @description The run in the Temporal UI, where one is configured. */
                temporal?: string;
            };
            /** @description Remarks of who started it; with `include=pending`. */
            memo: {
                [key: string]: string;
            };
            operation: string;
            /** @description What started it: `api`, `decision`, `schedule` or `dispatcher`. */
            origin: string;
            /** @description Since when it is held before its next step. */
            pausedAt: string | null;
            pendingActivities: {
                attempt: number;
                explanation: string;
                lastFailure: {
                    message: string;
                    type: string;
                } | null;
                name: string;
                nextAttemptAt: string | null;
                /** @enum {string} */
                state: "scheduled" | "running" | "retrying" | "cancelling" | "paused";
            }[];
            progress: {
                done: number;
                message: string;
                step: string;
                total: number | null;
            } | null;
            /** @description The run that was started with its input. */
            retriedBy: string | null;
            /** @description The run whose input it was started with again. */
            retryOf: string | null;
            runId: string;
            /** @enum {string} */
            source: "temporal" | "read-model";
            /** Format: date-time */
            startedAt: string;
            startedBy: string | null;
            /** @enum {string} */
            status: "running" | "completed" | "failed" | "cancelled" | "terminated" | "timed-out";
            tags: string[];
            temporalRunId: string | null;
        };
        RunEvent: {
            /** Format: date-time */
            at: string;
            data: {
                [key: string]: unknown;
            };
            seq: number;
            /** @enum {string} */
            type: "started" | "progress" | "paused" | "resumed" | "retried" | "replayed" | "closed";
        };
        RunHistory: {
            /** @description Events of Temporal it was folded from. */
            events: number;
            steps: {
                attempts: number;
                endedAt: string | null;
                eventId: number;
                failure: {
                    message: string;
                    type: string;
                } | null;
                input?: unknown;
                /** @enum {string} */
                kind: "run" | "activity" | "local-activity" | "child" | "timer" | "signal" | "update" | "cancellation";
                name: string;
                /** @description Whether `POST /v1/runs/{id}/replay` may begin here. */
                replayable: boolean;
                result?: unknown;
                /** Format: date-time */
                startedAt: string;
                /** @enum {string} */
                state: "open" | "running" | "completed" | "failed" | "timed-out" | "cancelled" | "terminated";
            }[];
        };
        RunOutcome: {
            /** @description Why it did not complete. */
            failure?: {
                message: string;
                type: string;
            };
            /** @description The result, once completed. */
            result?: unknown;
            /** @enum {string} */
            status: "running" | "completed" | "failed" | "cancelled" | "terminated" | "timed-out";
        };
        RunRecording: {
            /** @description Events as Temporal keeps them (`temporal.api.history.v1.History`); bytes are base64. */
            history: {
                [key: string]: unknown;
            };
            workflowId: string;
        };
        RunTrace: {
            operation: string;
            runId: string;
            /** @enum {string} */
            status: "running" | "completed" | "failed" | "cancelled" | "terminated" | "timed-out";
            /** @description From what began it all down to the run, and from there everything that followed. */
            tree: components["schemas"]["TraceNode"];
            /** @description Whether there is more than a trace shows (500 nodes, 50 steps of a run). */
            truncated: boolean;
        };
        SavedAutomation: {
            /** @description CEL bool over `signal`; a signal that does not meet it is recorded as skipped. */
            condition?: string;
            /** Format: date-time */
            createdAt: string;
            /** @default  */
            description: string;
            effect: {
                /**
                 * @description Field of the operation's input -> CEL expression over `signal`.
                 * @default {}
                 */
                input: {
                    [key: string]: string;
                };
                /** @constant */
                kind: "operation";
                /** @description Name of the operation, as in GET /v1/workflows. */
                operation: string;
            } | {
                /**
                 * @description Field of the new signal's data -> CEL expression over `signal`.
                 * @default {}
                 */
                data: {
                    [key: string]: string;
                };
                /** @constant */
                kind: "signal";
                /** @description CEL string. */
                subject?: string;
                type: string;
            };
            /** @default true */
            enabled: boolean;
            /** Format: uuid */
            id: string;
            name: string;
            /** @description Who saved this version. Effects run with the scopes the owner had then, while the owner still has them. */
            owner: {
                id: string;
                kind: string;
            };
            /** @description Set by HAL9 when the automation may not go on; enabling or saving it again ends the pause. */
            paused: {
                /** Format: date-time */
                at: string;
                reason: string;
            } | null;
            trigger: {
                /** @description CEL over `signal`. What it leaves out is not recorded as skipped. */
                filter?: string;
                /** @constant */
                kind: "signal";
                /** @description Exact sources, or prefixes ending in `*`; missing is all. */
                sources?: string[];
                /** @description Exact types, or prefixes ending in `.*`; `*` is all. */
                types: string[];
            } | {
                filter?: string;
                /**
                 * Format: uuid
                 * @description Id of the inbound webhook (`POST /v1/hooks`).
                 */
                hookId: string;
                /** @constant */
                kind: "webhook";
                /**
                 * @default [
                 *       "*"
                 *     ]
                 */
                types: string[];
            } | {
                filter?: string;
                /** @constant */
                kind: "schedule";
                /**
                 * Format: uuid
                 * @description Id of a schedule that sends a signal (`POST /v1/schedules`).
                 */
                scheduleId: string;
            } | {
                filter?: string;
                /** @constant */
                kind: "source";
                /**
                 * Format: uuid
                 * @description Id of the AMQP or Kafka source (`POST /v1/sources`).
                 */
                sourceId: string;
                /**
                 * @default [
                 *       "*"
                 *     ]
                 */
                types: string[];
            };
            /** Format: date-time */
            updatedAt: string;
            /** @description Grows with every change; send it back in If-Match. */
            version: number;
            /** @description What deserves a second look, e.g. types that feed each other. */
            warnings: string[];
        };
        Schedule: {
            action: {
                /**
                 * @description Its input, the same every time. For inputs that depend on the time, send a signal and let an automation with a `schedule` trigger map it.
                 * @default {}
                 */
                input: unknown;
                /** @constant */
                kind: "operation";
                /** @description Name of the operation, as in GET /v1/workflows. */
                operation: string;
            } | {
                /**
                 * @description Sent as it is, with `dueAt` added.
                 * @default {}
                 */
                data: {
                    [key: string]: unknown;
                };
                /** @constant */
                kind: "signal";
                subject?: string;
                type: string;
            };
            /** @description Whether Temporal has this version; it follows within seconds of being back. */
            applied: boolean;
            /** @default [] */
            calendars: {
                /** @description Default all. */
                dayOfMonth?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description 0 is Sunday. Default all. */
                dayOfWeek?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description Default 0. */
                hour?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description Default 0. */
                minute?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description Default all. */
                month?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description Default 0. */
                second?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description Default all. */
                year?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
            }[];
            /**
             * @description How late a firing may come after an outage; what Temporal was away for is counted as missed, what the workers were away for is skipped with the reason.
             * @default 3600
             */
            catchUpSeconds: number;
            /** Format: date-time */
            createdAt: string;
            /** @default [] */
            cron: string[];
            /** @default  */
            description: string;
            /** Format: date-time */
            endAt?: string;
            /** Format: uuid */
            id: string;
            /**
             * @description Every so often, counted from 1970-01-01T00:00:00Z plus the offset.
             * @default []
             */
            intervals: {
                everySeconds: number;
                /** @default 0 */
                offsetSeconds: number;
            }[];
            /**
             * @description Each firing comes up to so much later, the same for the same time.
             * @default 0
             */
            jitterSeconds: number;
            /** @description Fires so many times, then no more; by hand it still can. */
            limit?: number;
            name: string;
            /**
             * @description What happens when one is due while an earlier run is open.
             * @default skip
             * @enum {string}
             */
            overlap: "skip" | "buffer-one" | "buffer-all" | "cancel-other" | "terminate-other" | "allow-all";
            /** @description Who saved it last. Firings run with the scopes the owner had then, while the owner still has them. */
            owner: {
                id: string;
                kind: string;
            };
            paused: {
                /** Format: date-time */
                at: string;
                /** @enum {string} */
                by: "person" | "hal9";
                note: string;
            } | null;
            /**
             * @description Whether a run that fails or times out pauses the schedule.
             * @default false
             */
            pauseOnFailure: boolean;
            /** @description Why Temporal refuses this version. */
            problem: string | null;
            /**
             * @description Times that match one of these are left out.
             * @default []
             */
            skip: {
                /** @description Default all. */
                dayOfMonth?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description 0 is Sunday. Default all. */
                dayOfWeek?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description Default 0. */
                hour?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description Default 0. */
                minute?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description Default all. */
                month?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description Default 0. */
                second?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description Default all. */
                year?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
            }[];
            /** Format: date-time */
            startAt?: string;
            /**
             * @description IANA name; cron and calendars mean its wall clock. A time that a change of clocks leaves out does not fire; one that comes twice fires once, the second time, as in Temporal.
             * @default UTC
             */
            timeZone: string;
            /** Format: date-time */
            updatedAt: string;
            /** @description Grows with every change; send it back in If-Match. */
            version: number;
        };
        ScheduleDetail: {
            action: {
                /**
                 * @description Its input, the same every time. For inputs that depend on the time, send a signal and let an automation with a `schedule` trigger map it.
                 * @default {}
                 */
                input: unknown;
                /** @constant */
                kind: "operation";
                /** @description Name of the operation, as in GET /v1/workflows. */
                operation: string;
            } | {
                /**
                 * @description Sent as it is, with `dueAt` added.
                 * @default {}
                 */
                data: {
                    [key: string]: unknown;
                };
                /** @constant */
                kind: "signal";
                subject?: string;
                type: string;
            };
            /** @description Whether Temporal has this version; it follows within seconds of being back. */
            applied: boolean;
            /** @default [] */
            calendars: {
                /** @description Default all. */
                dayOfMonth?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description 0 is Sunday. Default all. */
                dayOfWeek?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description Default 0. */
                hour?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description Default 0. */
                minute?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description Default all. */
                month?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description Default 0. */
                second?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description Default all. */
                year?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
            }[];
            /**
             * @description How late a firing may come after an outage; what Temporal was away for is counted as missed, what the workers were away for is skipped with the reason.
             * @default 3600
             */
            catchUpSeconds: number;
            /** Format: date-time */
            createdAt: string;
            /** @default [] */
            cron: string[];
            /** @default  */
            description: string;
            /** Format: date-time */
            endAt?: string;
            /** Format: uuid */
            id: string;
            /**
             * @description Every so often, counted from 1970-01-01T00:00:00Z plus the offset.
             * @default []
             */
            intervals: {
                everySeconds: number;
                /** @default 0 */
                offsetSeconds: number;
            }[];
            /**
             * @description Each firing comes up to so much later, the same for the same time.
             * @default 0
             */
            jitterSeconds: number;
            /** @description Fires so many times, then no more; by hand it still can. */
            limit?: number;
            name: string;
            /**
             * @description What happens when one is due while an earlier run is open.
             * @default skip
             * @enum {string}
             */
            overlap: "skip" | "buffer-one" | "buffer-all" | "cancel-other" | "terminate-other" | "allow-all";
            /** @description Who saved it last. Firings run with the scopes the owner had then, while the owner still has them. */
            owner: {
                id: string;
                kind: string;
            };
            paused: {
                /** Format: date-time */
                at: string;
                /** @enum {string} */
                by: "person" | "hal9";
                note: string;
            } | null;
            /**
             * @description Whether a run that fails or times out pauses the schedule.
             * @default false
             */
            pauseOnFailure: boolean;
            /** @description Why Temporal refuses this version. */
            problem: string | null;
            /**
             * @description Times that match one of these are left out.
             * @default []
             */
            skip: {
                /** @description Default all. */
                dayOfMonth?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description 0 is Sunday. Default all. */
                dayOfWeek?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description Default 0. */
                hour?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description Default 0. */
                minute?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description Default all. */
                month?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description Default 0. */
                second?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
                /** @description Default all. */
                year?: (number | {
                    end: number;
                    start: number;
                    step?: number;
                })[];
            }[];
            /** Format: date-time */
            startAt?: string;
            /** @description What Temporal says; null while it does not answer. */
            times: {
                /** @description Firings that were too late after an outage. */
                missedCatchUp: number;
                /** @description The next fire times, at most ten, jitter included. */
                next: string[];
                /** @description Firings left under the limit. */
                remaining: number | null;
                /** @description Firings whose run is open. */
                running: number;
                /** @description Firings that fell on an open run and were left out. */
                skippedOverlap: number;
                taken: number;
            } | null;
            /**
             * @description IANA name; cron and calendars mean its wall clock. A time that a change of clocks leaves out does not fire; one that comes twice fires once, the second time, as in Temporal.
             * @default UTC
             */
            timeZone: string;
            /** Format: date-time */
            updatedAt: string;
            /** @description Grows with every change; send it back in If-Match. */
            version: number;
        };
        ScheduleFiring: {
            /** Format: date-time */
            createdAt: string;
            doneAt: string | null;
            /** Format: date-time */
            dueAt: string;
            /** @description The signal it sent. */
            emitted: string | null;
            /** Format: uuid */
            id: string;
            reason: string | null;
            /** @description The run it started. */
            runId: string | null;
            /** @enum {string} */
            state: "running" | "done" | "failed" | "cancelled" | "skipped";
        };
        ScimError: {
            detail: string;
            schemas: "urn:ietf:params:scim:api:messages:2.0:Error"[];
            scimType?: string;
            status: string;
        };
        ScimList: {
            itemsPerPage: number;
            Resources: components["schemas"]["ScimResource"][];
            schemas: string[];
            startIndex: number;
            totalResults: number;
        };
        ScimResource: {
            id: string;
            schemas: string[];
        } & {
            [key: string]: unknown;
        };
        SealedMemory: {
            /** @description Whether it is about somebody, whose key seals it. */
            about: boolean;
            content: {
                [key: string]: unknown;
            };
            /** Format: date-time */
            createdAt: string;
            /** @description SHA-256 of the sealed content: what a stream with the source `memory` anchors. */
            digest: string;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            kind: "fact" | "outcome" | "evidence";
            /** @description The sealed content, base64: its SHA-256 is `digest`. */
            sealed: string;
            topic: string;
            weight: number | null;
            writtenBy: string;
        };
        ServiceToken: {
            access_token: string;
            /** @description Seconds. */
            expires_in: number;
            scope: string;
            /** @constant */
            token_type: "Bearer";
        };
        Session: {
            address: string;
            /** Format: date-time */
            createdAt: string;
            current: boolean;
            /** Format: date-time */
            expiresAt: string;
            /** Format: uuid */
            id: string;
            /** Format: date-time */
            lastSeenAt: string;
            method: string;
            secondFactor: boolean;
            userAgent: string | null;
        };
        Shared1: components["schemas"]["TraceNode"][];
        SignalDecision: {
            /** Format: uuid */
            batchId: string;
            decisions: {
                effect: {
                    approval: {
                        allowRequester?: boolean;
                        approvers?: {
                            /** @default [] */
                            roles: string[];
                            /** @default [] */
                            teams: string[];
                            /** @default [] */
                            users: string[];
                        };
                        /** @default 86400 */
                        deadlineSeconds: number;
                        escalation?: {
                            afterSeconds: number;
                            approvers?: {
                                /** @default [] */
                                roles: string[];
                                /** @default [] */
                                teams: string[];
                                /** @default [] */
                                users: string[];
                            };
                            connection: string;
                        };
                        links?: boolean;
                        /** @default approvals:write */
                        permission: string;
                        /** @default 1 */
                        required: number;
                    } | null;
                    notify: {
                        connection: string;
                        message: string;
                        title: string;
                    } | null;
                    operation: {
                        input: unknown;
                        type: string;
                    } | null;
                } | null;
                /** @enum {string} */
                effectState: "none" | "pending" | "awaiting-approval" | "done" | "refused" | "failed";
                /** Format: uuid */
                id: string;
                layer: string;
                neuron: string;
                reason: string;
                severity: string;
                summary: string;
            }[];
            /** @description Why the batch was given up. */
            failure?: string;
            /** Format: uuid */
            signalId: string;
            /** @enum {string} */
            state: "decided" | "failed";
        };
        SignInOffer: {
            organisation: {
                /** Format: uuid */
                id: string;
                name: string;
                slug: string | null;
            };
            passwords: boolean;
            providers: {
                /** Format: uuid */
                id: string;
                /** @enum {string} */
                kind: "oidc" | "saml" | "ldap";
                location: string;
                name: string;
            }[];
            /** @description Whether a forgotten password can be set anew by mail. */
            resetByMail: boolean;
        };
        SignInOutcome: {
            /** @enum {string} */
            kind: "session" | "second-factor";
            /** @description Where the browser goes now. */
            location: string;
            /** @description Shown this once. */
            recoveryCodes?: string[];
        };
        SignInPolicy: {
            /**
             * @description Name of the connection of kind smtp that carries mails about forgotten passwords; null: the mail server of the installation, if it has one.
             * @default null
             */
            mailConnection: string | null;
            /**
             * @description Whether people may sign in by a password here.
             * @default true
             */
            passwords: boolean;
            /** @description Everybody needs a second factor, here or at their provider. */
            requireSecondFactor: boolean;
        };
        SignInPolicyInput: {
            /**
             * @description Name of the connection of kind smtp that carries mails about forgotten passwords; null: the mail server of the installation, if it has one.
             * @default null
             */
            mailConnection: string | null;
            /**
             * @description Whether people may sign in by a password here.
             * @default true
             */
            passwords: boolean;
            /** @description Everybody needs a second factor, here or at their provider. */
            requireSecondFactor: boolean;
        };
        Source: {
            /** @description Name of a connection of kind `amqp`. */
            connection: string;
            /** Format: date-time */
            createdAt: string;
            /** @description Where messages that are no signals are published as well, with the header `x-hal9-cause`, before they are acknowledged. */
            deadLetter?: components["schemas"]["DeadLetterExchange"];
            /** @default  */
            description: string;
            /** @default true */
            enabled: boolean;
            /** Format: uuid */
            id: string;
            /** @constant */
            kind: "amqp";
            lastFailure: string | null;
            lastMessageAt: string | null;
            /** @description For messages that are no CloudEvents; those say it themselves. */
            mapping: components["schemas"]["SourceMapping"];
            name: string;
            /**
             * @description Most messages that are taken in and not acknowledged.
             * @default 500
             */
            prefetch: number;
            /** @description A queue that exists. HAL9 consumes it alone, so that order holds. */
            queue: string;
            /** @description Messages taken in, redelivered ones included. */
            received: number;
            /**
             * @description `waiting`: no consumer has it yet, or it is switched off.
             * @enum {string}
             */
            state: "waiting" | "connected" | "failed";
            /** Format: date-time */
            updatedAt: string;
            /** @description Grows with every change; send it back in If-Match. */
            version: number;
        } | {
            /** @description Name of a connection of kind `kafka`. */
            connection: string;
            /** Format: date-time */
            createdAt: string;
            /** @description Where records that are no signals are sent as well, with the header `x-hal9-cause`, before their offset is committed. */
            deadLetter?: components["schemas"]["DeadLetterTopic"];
            /** @default  */
            description: string;
            /** @default true */
            enabled: boolean;
            /**
             * @description Where a group that has no offset begins.
             * @default earliest
             * @enum {string}
             */
            from: "earliest" | "latest";
            /** @description Consumer group whose offsets are used and moved. Default: one of its own, `hal9-` and the id of the source. */
            group?: string;
            /** Format: uuid */
            id: string;
            /** @constant */
            kind: "kafka";
            lastFailure: string | null;
            lastMessageAt: string | null;
            /** @description For messages that are no CloudEvents; those say it themselves. */
            mapping: components["schemas"]["SourceMapping"];
            name: string;
            /** @description Messages taken in, redelivered ones included. */
            received: number;
            /**
             * @description `waiting`: no consumer has it yet, or it is switched off.
             * @enum {string}
             */
            state: "waiting" | "connected" | "failed";
            /** @description Topics that exist. */
            topics: string[];
            /** Format: date-time */
            updatedAt: string;
            /** @description Grows with every change; send it back in If-Match. */
            version: number;
        };
        SourceDeadLetter: {
            /** @description Size of the body. */
            bytes: number;
            cause: string;
            /** Format: date-time */
            createdAt: string;
            /** Format: uuid */
            id: string;
            replayedAt: string | null;
        };
        SourceMapping: {
            /**
             * @description Where the id is found by which a message is taken in once; the hash of the message when it is not. The `message-id` of a Kafka record is its topic, partition, offset and time.
             * @default message-id
             */
            idFrom: string;
            /** @description Where the key is found within which order holds; the source when it is not. Default: the `key` of a Kafka record, none for AMQP. */
            partitionKeyFrom?: string;
            subjectFrom?: string;
            /**
             * @description Type of the signals.
             * @default message.received
             */
            type: string;
            /** @description Where the type is found; `type` when it is not. `route` is the routing key or the topic. */
            typeFrom?: string;
        };
        SourceMappingInput: {
            /**
             * @description Where the id is found by which a message is taken in once; the hash of the message when it is not. The `message-id` of a Kafka record is its topic, partition, offset and time.
             * @default message-id
             */
            idFrom: string;
            /** @description Where the key is found within which order holds; the source when it is not. Default: the `key` of a Kafka record, none for AMQP. */
            partitionKeyFrom?: string;
            subjectFrom?: string;
            /**
             * @description Type of the signals.
             * @default message.received
             */
            type: string;
            /** @description Where the type is found; `type` when it is not. `route` is the routing key or the topic. */
            typeFrom?: string;
        };
        StartedRun: {
            /** @description False when the run was there already: same Idempotency-Key, or same id by the operation's rule. */
            created: boolean;
            links: {
                result: string;
                self: string;
                /** @description The run in the Temporal UI, where one is configured. */
                temporal?: string;
            };
            operation: string;
            /** @description With `Prefer: wait=<seconds>` and an end within that time. */
            outcome?: components["schemas"]["RunOutcome"];
            /** @description True when it waits for its turn: as many runs as its concurrency key allows are open. */
            queued?: boolean;
            runId: string;
            /** @enum {string} */
            status: "running" | "completed" | "failed" | "cancelled" | "terminated" | "timed-out";
            traceId: string;
        };
        Statement: {
            closedAt: string | null;
            /** @description SHA-256 over month, plan, lines and the hash before; null while the month is open. */
            hash: string | null;
            lines: {
                /** @description Of one calendar month (UTC). Null: none. */
                hard: number | null;
                /** @enum {string} */
                meter: "runs" | "signals" | "tokens" | "browser-seconds" | "storage-byte-hours" | "plugin-cpu-ms";
                quantity: number;
                /** @description Of one calendar month (UTC). Null: none. */
                soft: number | null;
                unit: string;
            }[];
            /** @description `YYYY-MM`, UTC. */
            month: string;
            /** @enum {string} */
            plan: "free" | "starter" | "professional" | "enterprise";
            /** @description Hash of the statement before; null for the first. */
            previousHash: string | null;
            /**
             * @description A closed month never changes.
             * @enum {string}
             */
            state: "open" | "closed";
        };
        Team: {
            /** Format: date-time */
            createdAt: string;
            externalId: string | null;
            features: {
                [key: string]: boolean;
            };
            /** Format: uuid */
            id: string;
            name: string;
            parentId: string | null;
            /** Format: date-time */
            updatedAt: string;
        };
        TeamMembers: {
            /** @description User ids, of the team itself. */
            members: string[];
        };
        TeamShares: {
            shares: {
                /**
                 * @description `write` includes `read`.
                 * @enum {string}
                 */
                access: "read" | "write";
                id: string;
                kind: string;
            }[];
        };
        TokenAction: {
            /** @description Id of the proposal, of actions about one. */
            proposal: string | null;
            /** @description In their order; `GET /v1/chain-transactions/{id}` says what becomes of each. */
            transactions: string[];
        };
        TotpEnrolment: {
            /** Format: uuid */
            challengeId: string;
            /** @description The address as a QR code, SVG. */
            qr: string;
            /** @description Base32, to be typed. */
            secret: string;
            /** @description `otpauth://` address. */
            uri: string;
        };
        Trace: {
            /** @description US dollars spent on calls outside for this signal, decimal text. */
            costUsd: string;
            deadLetters: {
                cause: string;
                failure: string;
                /** Format: uuid */
                id: string;
                layer: string;
                /** Format: uuid */
                ref: string;
            }[];
            decisions: components["schemas"]["Decision"][];
            /** @description From receipt to the last decision, or to the end of its cascade where there was none; null while it waits. */
            durationMs: number | null;
            emissions: {
                /** Format: uuid */
                batch: string;
                causes: string[];
                /** Format: date-time */
                createdAt: string;
                data: unknown;
                /** @enum {string} */
                direction: "up" | "down";
                /** Format: date-time */
                eventTime: string;
                /** Format: uuid */
                id: string;
                layer: string;
                neuron: {
                    /** Format: uuid */
                    id: string;
                    name: string;
                    version: number;
                };
                severity: string;
                subject: string | null;
                /** @enum {string} */
                targetLayer: "L2" | "L3" | "L4";
                type: string;
            }[];
            externalCalls: {
                answeredAt: string | null;
                costUsd: string;
                fallback: string | null;
                /** Format: uuid */
                id: string;
                layer: string;
                /** Format: uuid */
                neuron: string;
                /** Format: uuid */
                ref: string;
            }[];
            runs: {
                closedAt: string | null;
                failure: string | null;
                operation: string;
                runId: string;
                /** Format: date-time */
                startedAt: string;
                /** @enum {string} */
                status: "running" | "completed" | "failed" | "cancelled" | "terminated" | "timed-out";
            }[];
            signal: {
                batch: string | null;
                decidedAt: string | null;
                /** Format: uuid */
                id: string;
                /** Format: date-time */
                receivedAt: string;
                source: string;
                /** @enum {string} */
                state: "pending" | "decided" | "failed";
                subject: string | null;
                type: string;
            };
            tree: components["schemas"]["TraceNode"];
            /** @description Whether there is more than a trace shows (500 emissions, 200 decisions, 500 nodes below them, 50 steps of a run). */
            truncated: boolean;
        };
        TraceNode: {
            at: string | null;
            children: components["schemas"]["TraceNode"][];
            durationMs: number | null;
            endedAt: string | null;
            /** @description Type of the failure of a run, reason of one elsewhere. */
            failure: string | null;
            /** @description Of the thing itself; of a step the run and the number of the event it began with. Empty where the caller may not see it. */
            id: string;
            /** @enum {string} */
            kind: "caller" | "schedule" | "webhook" | "signal" | "emission" | "decision" | "automation" | "run" | "step" | "approval" | "message" | "notification";
            layer: string;
            /** @description How it stands, in the words of its kind. */
            state: string | null;
            title: string;
        };
        TraceNodeOutput: {
            at: string | null;
            children: components["schemas"]["Shared1"];
            durationMs: number | null;
            endedAt: string | null;
            /** @description Type of the failure of a run, reason of one elsewhere. */
            failure: string | null;
            /** @description Of the thing itself; of a step the run and the number of the event it began with. Empty where the caller may not see it. */
            id: string;
            /** @enum {string} */
            kind: "caller" | "schedule" | "webhook" | "signal" | "emission" | "decision" | "automation" | "run" | "step" | "approval" | "message" | "notification";
            layer: string;
            /** @description How it stands, in the words of its kind. */
            state: string | null;
            title: string;
        };
        UsageSummary: {
            /** Format: date-time */
            from: string;
            limits: {
                /** @description Null: none. */
                limit: number | null;
                /** @enum {string} */
                name: "openRuns" | "apiKeys" | "seats" | "retentionDays" | "requestsPerSecond" | "keyRequestsPerSecond";
                /** @description Null for what is no count. */
                used: number | null;
            }[];
            meters: {
                /** @description Of one calendar month (UTC). Null: none. */
                hard: number | null;
                /** @enum {string} */
                meter: "runs" | "signals" | "tokens" | "browser-seconds" | "storage-byte-hours" | "plugin-cpu-ms";
                /** @description At the end of the month if use goes on as on average so far. */
                projected: number;
                /** @description Of one calendar month (UTC). Null: none. */
                soft: number | null;
                /** @enum {string} */
                state: "within" | "over-soft" | "over-hard";
                unit: string;
                /** @description In the month so far, up to this moment. */
                used: number;
            }[];
            /** @description `YYYY-MM`, UTC. */
            month: string;
            /** @enum {string} */
            plan: "free" | "starter" | "professional" | "enterprise";
            /** Format: date-time */
            to: string;
        };
        User: {
            active: boolean;
            /** Format: date-time */
            createdAt: string;
            displayName: string | null;
            email: string | null;
            emailVerified: boolean;
            externalId: string | null;
            /** @description Whether they have a password here, besides ways to sign in elsewhere. */
            hasPassword: boolean;
            /** Format: uuid */
            id: string;
            lastSignInAt: string | null;
            /** Format: date-time */
            updatedAt: string;
            userName: string;
        };
        Webhook: {
            /** Format: date-time */
            createdAt: string;
            enabled: boolean;
            /** Format: uuid */
            id: string;
            name: string;
            /** @description Live secrets, newest first, without their values. */
            secrets: {
                /** Format: date-time */
                createdAt: string;
                expiresAt: string | null;
                id: string;
            }[];
            /** @description Without the verify token. */
            settings: {
                [key: string]: unknown;
            };
            /** Format: date-time */
            updatedAt: string;
            /** @description Where the provider sends to, relative to this server. */
            url: string;
            version: number;
        };
        WebhookDelivery: {
            bodyBytes: number;
            /** @description The provider's id. */
            deliveryId: string | null;
            /** @description Without what proves the sender. */
            headers: {
                [key: string]: string;
            };
            /** Format: uuid */
            id: string;
            reason: string | null;
            /** Format: date-time */
            receivedAt: string;
            /** @description Whether its body is kept. */
            replayable: boolean;
            replayedAt: string | null;
            replays: number;
            /** @description HAL9's ids of its signals. */
            signals: string[];
            /**
             * @description `duplicate`: its signals were there already. `refused`: it proved nothing. `failed`: proved, but not taken in.
             * @enum {string}
             */
            status: "accepted" | "duplicate" | "refused" | "failed";
            /** Format: uuid */
            webhook: string;
        };
        WebhookEndpoint: {
            /** @description While it is open nothing is sent; afterwards one message tries. */
            circuit: {
                failures: number;
                openUntil: string | null;
                /** @enum {string} */
                state: "closed" | "open";
            };
            /** Format: date-time */
            createdAt: string;
            /** @description Why HAL9 switched it off, e.g. because it answered 410 Gone. */
            disabledReason: string | null;
            enabled: boolean;
            events: string[];
            /** Format: uuid */
            id: string;
            name: string;
            secrets: {
                /** Format: date-time */
                createdAt: string;
                expiresAt: string | null;
                id: string;
            }[];
            /** Format: date-time */
            updatedAt: string;
            url: string;
            version: number;
        };
        WebhookEndpointWithSecret: {
            /** @description While it is open nothing is sent; afterwards one message tries. */
            circuit: {
                failures: number;
                openUntil: string | null;
                /** @enum {string} */
                state: "closed" | "open";
            };
            /** Format: date-time */
            createdAt: string;
            /** @description Why HAL9 switched it off, e.g. because it answered 410 Gone. */
            disabledReason: string | null;
            enabled: boolean;
            events: string[];
            /** Format: uuid */
            id: string;
            name: string;
            /** @description Shown this once. */
            secret: string;
            secrets: {
                /** Format: date-time */
                createdAt: string;
                expiresAt: string | null;
                id: string;
            }[];
            /** Format: date-time */
            updatedAt: string;
            url: string;
            version: number;
        };
        WebhookWithSecret: {
            /** Format: date-time */
            createdAt: string;
            enabled: boolean;
            /** Format: uuid */
            id: string;
            name: string;
            /** @description Shown this once. */
            secret: string;
            /** @description Live secrets, newest first, without their values. */
            secrets: {
                /** Format: date-time */
                createdAt: string;
                expiresAt: string | null;
                id: string;
            }[];
            /** @description Without the verify token. */
            settings: {
                [key: string]: unknown;
            };
            /** Format: date-time */
            updatedAt: string;
            /** @description Where the provider sends to, relative to this server. */
            url: string;
            version: number;
        };
        Workflow: {
            description: string;
            /** @enum {string} */
            effect: "pure" | "idempotent" | "irreversible";
            errors: {
                [key: string]: {
                    remedy: string;
                    retryable: boolean;
                    status: number;
                    title: string;
                };
            };
            executionTimeout: string;
            /**
             * @description `internal` operations are started by HAL9 alone.
             * @enum {string}
             */
            exposure: "public" | "internal";
            /** @description JSON Schema 2020-12. */
            input: {
                [key: string]: unknown;
            };
            permission: string;
            queries: {
                [key: string]: {
                    /** @description JSON Schema 2020-12. */
                    answer?: {
                        [key: string]: unknown;
                    };
                    description: string;
                    /** @description JSON Schema 2020-12. */
                    payload: {
                        [key: string]: unknown;
                    };
                    permission?: string;
                };
            };
            /** @description So many starts in so many seconds; missing: no limit. */
            rate?: {
                perSeconds: number;
                starts: number;
            };
            /** @description JSON Schema 2020-12. */
            result: {
                [key: string]: unknown;
            };
            signals: {
                [key: string]: {
                    /** @description JSON Schema 2020-12. */
                    answer?: {
                        [key: string]: unknown;
                    };
                    description: string;
                    /** @description JSON Schema 2020-12. */
                    payload: {
                        [key: string]: unknown;
                    };
                    permission?: string;
                };
            };
            summary: string;
            type: string;
            updates: {
                [key: string]: {
                    /** @description JSON Schema 2020-12. */
                    answer?: {
                        [key: string]: unknown;
                    };
                    description: string;
                    /** @description JSON Schema 2020-12. */
                    payload: {
                        [key: string]: unknown;
                    };
                    permission?: string;
                };
            };
            version: number;
        };
    };
    responses: {
        /** @description What went wrong, whose fault it is and what to do now. */
        Problem: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
    };
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    getJwks: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A JWK set (RFC 7517). */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/jwk-set+json": {
                        keys: ({
                            kid: string;
                        } & {
                            [key: string]: unknown;
                        })[];
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    downloadAccessExport: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                token: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A ZIP archive, encrypted with age. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": unknown;
                };
            };
            /** @description What went wrong: a page for people, or a problem. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/html": string;
                };
            };
        };
    };
    accountPage: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The page. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html": string;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    showApprovalLink: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                token: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The question, with two buttons. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html; charset=utf-8": string;
                };
            };
            /** @description The link was used, has expired, or is none. */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html; charset=utf-8": string;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    answerApprovalLink: {
        parameters: {
            query: {
                answer: "approve" | "refuse";
            };
            header?: never;
            path: {
                token: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer is recorded. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html; charset=utf-8": string;
                };
            };
            /** @description The link was used, has expired, or is none. */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html; charset=utf-8": string;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    transcodePayloads: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                direction: "decode" | "encode";
                /** @description Temporal namespace. */
                namespace: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CodecPayloads"];
            };
        };
        responses: {
            /** @description The payloads in the same order. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CodecPayloadsOutput"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    console: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description To its first page. */
            303: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    consoleAsset: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                file: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The file. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/css": string;
                    "text/html": string;
                    "text/javascript": string;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    documentation: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The page; everything it loads comes from this server. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html; charset=utf-8": string;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    documentationAsset: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                file: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The file. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/javascript": string;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    health: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It does. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @constant */
                        status: "ok";
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    invitationPage: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                token: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The page. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html": string;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    streamLiveView: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                token: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Events; `data` is one frame. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": {
                        data: string;
                        event: string;
                        id: string;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    sendLiveInputs: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                token: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    inputs: components["schemas"]["BrowserLiveInput"][];
                };
            };
        };
        responses: {
            /** @description On its way. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    metrics: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Prometheus text format. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain; version=0.0.4; charset=utf-8": string;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    openApi: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The document. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        [key: string]: unknown;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    explainProblem: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                type: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The kind of failure. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FailureType"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    readiness: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Every dependency answers. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Readiness"];
                };
            };
            /** @description A dependency is down, or the process is stopping. */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Readiness"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listScimGroups: {
        parameters: {
            query?: {
                /** @description Only these, separated by commas, besides what is always returned. */
                attributes?: string;
                /** @description At most 200. */
                count?: number;
                /** @description All but these. */
                excludedAttributes?: string;
                /** @description RFC 7644 3.4.2.2, e.g. `userName eq "ada@example.com"`. */
                filter?: string;
                sortBy?: string;
                sortOrder?: "ascending" | "descending";
                /** @description 1 is the first. */
                startIndex?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of groups. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/scim+json": components["schemas"]["ScimList"];
                };
            };
            /** @description What went wrong, as SCIM tells it (RFC 7644, 3.12). */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "application/scim+json": components["schemas"]["ScimError"];
                };
            };
        };
    };
    createScimGroup: {
        parameters: {
            query?: {
                /** @description Only these, separated by commas, besides what is always returned. */
                attributes?: string;
                /** @description All but these. */
                excludedAttributes?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    displayName: string;
                    externalId?: string | null;
                    members?: {
                        /** Format: uuid */
                        value: string;
                    }[] | null;
                };
            };
        };
        responses: {
            /** @description The group. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/scim+json": components["schemas"]["ScimResource"];
                };
            };
            /** @description What went wrong, as SCIM tells it (RFC 7644, 3.12). */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "application/scim+json": components["schemas"]["ScimError"];
                };
            };
        };
    };
    searchScimGroups: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    attributes?: string[];
                    /** @description At most 200. */
                    count?: number;
                    excludedAttributes?: string[];
                    /** @description RFC 7644 3.4.2.2, e.g. `userName eq "ada@example.com"`. */
                    filter?: string;
                    sortBy?: string;
                    /**
                     * @default ascending
                     * @enum {string}
                     */
                    sortOrder?: "ascending" | "descending";
                    /** @description 1 is the first. */
                    startIndex?: number;
                };
            };
        };
        responses: {
            /** @description A page of groups. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/scim+json": components["schemas"]["ScimList"];
                };
            };
            /** @description What went wrong, as SCIM tells it (RFC 7644, 3.12). */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "application/scim+json": components["schemas"]["ScimError"];
                };
            };
        };
    };
    getScimGroup: {
        parameters: {
            query?: {
                /** @description Only these, separated by commas, besides what is always returned. */
                attributes?: string;
                /** @description All but these. */
                excludedAttributes?: string;
            };
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The group. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/scim+json": components["schemas"]["ScimResource"];
                };
            };
            /** @description It has not changed. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, as SCIM tells it (RFC 7644, 3.12). */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "application/scim+json": components["schemas"]["ScimError"];
                };
            };
        };
    };
    replaceScimGroup: {
        parameters: {
            query?: {
                /** @description Only these, separated by commas, besides what is always returned. */
                attributes?: string;
                /** @description All but these. */
                excludedAttributes?: string;
            };
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    displayName: string;
                    externalId?: string | null;
                    members?: {
                        /** Format: uuid */
                        value: string;
                    }[] | null;
                };
            };
        };
        responses: {
            /** @description The group. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/scim+json": components["schemas"]["ScimResource"];
                };
            };
            /** @description What went wrong, as SCIM tells it (RFC 7644, 3.12). */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "application/scim+json": components["schemas"]["ScimError"];
                };
            };
        };
    };
    deleteScimGroup: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Deleted. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, as SCIM tells it (RFC 7644, 3.12). */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "application/scim+json": components["schemas"]["ScimError"];
                };
            };
        };
    };
    patchScimGroup: {
        parameters: {
            query?: {
                /** @description Only these, separated by commas, besides what is always returned. */
                attributes?: string;
                /** @description All but these. */
                excludedAttributes?: string;
            };
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    Operations: {
                        op: string;
                        path?: string;
                        value?: unknown;
                    }[];
                };
            };
        };
        responses: {
            /** @description The group. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/scim+json": components["schemas"]["ScimResource"];
                };
            };
            /** @description What went wrong, as SCIM tells it (RFC 7644, 3.12). */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "application/scim+json": components["schemas"]["ScimError"];
                };
            };
        };
    };
    listScimResourceTypes: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The document. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/scim+json": {
                        schemas: string[];
                    } & {
                        [key: string]: unknown;
                    };
                };
            };
            /** @description What went wrong, as SCIM tells it (RFC 7644, 3.12). */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "application/scim+json": components["schemas"]["ScimError"];
                };
            };
        };
    };
    getScimResourceType: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The document. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/scim+json": {
                        schemas: string[];
                    } & {
                        [key: string]: unknown;
                    };
                };
            };
            /** @description What went wrong, as SCIM tells it (RFC 7644, 3.12). */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "application/scim+json": components["schemas"]["ScimError"];
                };
            };
        };
    };
    listScimSchemas: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The document. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/scim+json": {
                        schemas: string[];
                    } & {
                        [key: string]: unknown;
                    };
                };
            };
            /** @description What went wrong, as SCIM tells it (RFC 7644, 3.12). */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "application/scim+json": components["schemas"]["ScimError"];
                };
            };
        };
    };
    getScimSchema: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The document. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/scim+json": {
                        schemas: string[];
                    } & {
                        [key: string]: unknown;
                    };
                };
            };
            /** @description What went wrong, as SCIM tells it (RFC 7644, 3.12). */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "application/scim+json": components["schemas"]["ScimError"];
                };
            };
        };
    };
    getScimConfig: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The document. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/scim+json": {
                        schemas: string[];
                    } & {
                        [key: string]: unknown;
                    };
                };
            };
            /** @description What went wrong, as SCIM tells it (RFC 7644, 3.12). */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "application/scim+json": components["schemas"]["ScimError"];
                };
            };
        };
    };
    listScimUsers: {
        parameters: {
            query?: {
                /** @description Only these, separated by commas, besides what is always returned. */
                attributes?: string;
                /** @description At most 200. */
                count?: number;
                /** @description All but these. */
                excludedAttributes?: string;
                /** @description RFC 7644 3.4.2.2, e.g. `userName eq "ada@example.com"`. */
                filter?: string;
                sortBy?: string;
                sortOrder?: "ascending" | "descending";
                /** @description 1 is the first. */
                startIndex?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of users. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/scim+json": components["schemas"]["ScimList"];
                };
            };
            /** @description What went wrong, as SCIM tells it (RFC 7644, 3.12). */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "application/scim+json": components["schemas"]["ScimError"];
                };
            };
        };
    };
    createScimUser: {
        parameters: {
            query?: {
                /** @description Only these, separated by commas, besides what is always returned. */
                attributes?: string;
                /** @description All but these. */
                excludedAttributes?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    active?: (boolean | string) | null;
                    displayName?: string | null;
                    emails?: {
                        display?: string | null;
                        primary?: boolean | string;
                        type?: string | null;
                        /** Format: email */
                        value: string;
                    }[] | null;
                    externalId?: string | null;
                    locale?: string | null;
                    name?: {
                        familyName?: string | null;
                        formatted?: string | null;
                        givenName?: string | null;
                        honorificPrefix?: string | null;
                        honorificSuffix?: string | null;
                        middleName?: string | null;
                    } | null;
                    nickName?: string | null;
                    preferredLanguage?: string | null;
                    timezone?: string | null;
                    title?: string | null;
                    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"?: {
                        costCenter?: string | null;
                        department?: string | null;
                        division?: string | null;
                        employeeNumber?: string | null;
                        manager?: ({
                            displayName?: string | null;
                            value?: string | null;
                        } | string) | null;
                        organization?: string | null;
                    } | null;
                    /** @description What they type to sign in; compared without case. */
                    userName: string;
                    userType?: string | null;
                };
            };
        };
        responses: {
            /** @description The user. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/scim+json": components["schemas"]["ScimResource"];
                };
            };
            /** @description What went wrong, as SCIM tells it (RFC 7644, 3.12). */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "application/scim+json": components["schemas"]["ScimError"];
                };
            };
        };
    };
    searchScimUsers: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    attributes?: string[];
                    /** @description At most 200. */
                    count?: number;
                    excludedAttributes?: string[];
                    /** @description RFC 7644 3.4.2.2, e.g. `userName eq "ada@example.com"`. */
                    filter?: string;
                    sortBy?: string;
                    /**
                     * @default ascending
                     * @enum {string}
                     */
                    sortOrder?: "ascending" | "descending";
                    /** @description 1 is the first. */
                    startIndex?: number;
                };
            };
        };
        responses: {
            /** @description A page of users. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/scim+json": components["schemas"]["ScimList"];
                };
            };
            /** @description What went wrong, as SCIM tells it (RFC 7644, 3.12). */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "application/scim+json": components["schemas"]["ScimError"];
                };
            };
        };
    };
    getScimUser: {
        parameters: {
            query?: {
                /** @description Only these, separated by commas, besides what is always returned. */
                attributes?: string;
                /** @description All but these. */
                excludedAttributes?: string;
            };
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The user. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/scim+json": components["schemas"]["ScimResource"];
                };
            };
            /** @description It has not changed. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, as SCIM tells it (RFC 7644, 3.12). */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "application/scim+json": components["schemas"]["ScimError"];
                };
            };
        };
    };
    replaceScimUser: {
        parameters: {
            query?: {
                /** @description Only these, separated by commas, besides what is always returned. */
                attributes?: string;
                /** @description All but these. */
                excludedAttributes?: string;
            };
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    active?: (boolean | string) | null;
                    displayName?: string | null;
                    emails?: {
                        display?: string | null;
                        primary?: boolean | string;
                        type?: string | null;
                        /** Format: email */
                        value: string;
                    }[] | null;
                    externalId?: string | null;
                    locale?: string | null;
                    name?: {
                        familyName?: string | null;
                        formatted?: string | null;
                        givenName?: string | null;
                        honorificPrefix?: string | null;
                        honorificSuffix?: string | null;
                        middleName?: string | null;
                    } | null;
                    nickName?: string | null;
                    preferredLanguage?: string | null;
                    timezone?: string | null;
                    title?: string | null;
                    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"?: {
                        costCenter?: string | null;
                        department?: string | null;
                        division?: string | null;
                        employeeNumber?: string | null;
                        manager?: ({
                            displayName?: string | null;
                            value?: string | null;
                        } | string) | null;
                        organization?: string | null;
                    } | null;
                    /** @description What they type to sign in; compared without case. */
                    userName: string;
                    userType?: string | null;
                };
            };
        };
        responses: {
            /** @description The user. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/scim+json": components["schemas"]["ScimResource"];
                };
            };
            /** @description What went wrong, as SCIM tells it (RFC 7644, 3.12). */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "application/scim+json": components["schemas"]["ScimError"];
                };
            };
        };
    };
    deleteScimUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Deleted. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, as SCIM tells it (RFC 7644, 3.12). */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "application/scim+json": components["schemas"]["ScimError"];
                };
            };
        };
    };
    patchScimUser: {
        parameters: {
            query?: {
                /** @description Only these, separated by commas, besides what is always returned. */
                attributes?: string;
                /** @description All but these. */
                excludedAttributes?: string;
            };
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    Operations: {
                        op: string;
                        path?: string;
                        value?: unknown;
                    }[];
                };
            };
        };
        responses: {
            /** @description The user. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/scim+json": components["schemas"]["ScimResource"];
                };
            };
            /** @description What went wrong, as SCIM tells it (RFC 7644, 3.12). */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "application/scim+json": components["schemas"]["ScimError"];
                };
            };
        };
    };
    secondFactorPage: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The page. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html": string;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    signInPage: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The page. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html": string;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    organisationSignInPage: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                organisation: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The page. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html": string;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    showLdapSignIn: {
        parameters: {
            query?: {
                /** @description Path of this site for afterwards; anything else goes to the console. */
                returnTo?: string;
            };
            header?: never;
            path: {
                id: string;
                organisation: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A form. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html; charset=utf-8": string;
                };
            };
            /** @description What went wrong: a page for people, or a problem. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/html": string;
                };
            };
        };
    };
    signInByLdap: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
                organisation: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/x-www-form-urlencoded": {
                    password: string;
                    returnTo?: string;
                    userName: string;
                };
            };
        };
        responses: {
            /** @description Signed in, or to the second factor. */
            303: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The directory does not accept the name with the password. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html; charset=utf-8": string;
                };
            };
            /** @description What went wrong: a page for people, or a problem. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/html": string;
                };
            };
        };
    };
    startOidcSignIn: {
        parameters: {
            query?: {
                /** @description What the person typed, e.g. their address. */
                loginHint?: string;
                /** @description Path of this site for afterwards; anything else goes to the console. */
                returnTo?: string;
            };
            header?: never;
            path: {
                id: string;
                organisation: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description To the provider. */
            303: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The provider cannot be reached. */
            424: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html; charset=utf-8": string;
                };
            };
            /** @description What went wrong: a page for people, or a problem. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/html": string;
                };
            };
        };
    };
    finishOidcSignIn: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
                organisation: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Signed in, or to the second factor. */
            303: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The answer is not accepted. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html; charset=utf-8": string;
                };
            };
            /** @description What went wrong: a page for people, or a problem. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/html": string;
                };
            };
        };
    };
    endOidcSessions: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
                organisation: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/x-www-form-urlencoded": {
                    logout_token: string;
                };
            };
        };
        responses: {
            /** @description They have ended. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    startSamlSignIn: {
        parameters: {
            query?: {
                /** @description Path of this site for afterwards; anything else goes to the console. */
                returnTo?: string;
            };
            header?: never;
            path: {
                id: string;
                organisation: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page that posts the request, with the POST binding. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html; charset=utf-8": string;
                };
            };
            /** @description To the provider. */
            303: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong: a page for people, or a problem. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/html": string;
                };
            };
        };
    };
    finishSamlSignIn: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
                organisation: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/x-www-form-urlencoded": {
                    RelayState?: string;
                    SAMLResponse: string;
                };
            };
        };
        responses: {
            /** @description A page that posts the response from here. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html; charset=utf-8": string;
                };
            };
            /** @description Signed in, or to the second factor. */
            303: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The response is not accepted. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html; charset=utf-8": string;
                };
            };
            /** @description What went wrong: a page for people, or a problem. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/html": string;
                };
            };
        };
    };
    takeSamlLogout: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
                organisation: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Back to the provider, or to the sign-in page. */
            303: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The message is not accepted. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html; charset=utf-8": string;
                };
            };
            /** @description What went wrong: a page for people, or a problem. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/html": string;
                };
            };
        };
    };
    takePostedSamlLogout: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
                organisation: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/x-www-form-urlencoded": {
                    RelayState?: string;
                    SAMLRequest?: string;
                    SAMLResponse?: string;
                };
            };
        };
        responses: {
            /** @description Back to the provider, or to the sign-in page. */
            303: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The message is not accepted. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html; charset=utf-8": string;
                };
            };
            /** @description What went wrong: a page for people, or a problem. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/html": string;
                };
            };
        };
    };
    getSamlMetadata: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
                organisation: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The metadata. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/samlmetadata+xml": string;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    showUiSignIn: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description To the sign-in page. */
            303: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    signInToUi: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/x-www-form-urlencoded": {
                    key: string;
                };
            };
        };
        responses: {
            /** @description Signed in; the cookie is set. */
            303: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    signOutOfUi: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Signed out. */
            303: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    listAnchorStreams: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of streams. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["AnchorStream"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    createAnchorStream: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    name: string;
                    /** Format: uuid */
                    network: string;
                    /**
                     * Format: uuid
                     * @description Writes the log; its address and the stream name it on the chain.
                     */
                    signer: string;
                    /**
                     * @description What each run of the operation `anchor` takes besides hashes that were put in. `audit`: the newest checkpoint of the audit log, as the SHA-256 of its signed note. `memory`: digests of what was remembered since.
                     * @default hashes
                     * @enum {string}
                     */
                    source?: "hashes" | "audit" | "memory";
                };
            };
        };
        responses: {
            /** @description The stream. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AnchorStream"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getAnchorStream: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The stream. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AnchorStream"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listAnchorBatches: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of batches. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["AnchorBatch"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    anchorHashes: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    hashes: string[];
                };
            };
        };
        responses: {
            /** @description What was added, and the run that anchors it. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AnchorReceipt"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getAnchorProof: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                hash: string;
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The proof. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AnchorProof"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listApiKeys: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of keys, without their secrets. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["ApiKey"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    createApiKey: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /**
                     * Format: date-time
                     * @description When it stops working; never, if left out.
                     */
                    expiresAt?: string;
                    /** @description What the key is for. */
                    name: string;
                    scopes: string[];
                };
            };
        };
        responses: {
            /** @description The key with its secret. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CreatedApiKey"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getApiKey: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The key without its secret. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ApiKey"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    revokeApiKey: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The revoked key. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ApiKey"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    rotateApiKey: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": {
                    /**
                     * @description How long the old key works on.
                     * @default 3600
                     */
                    overlapSeconds?: number;
                };
            };
        };
        responses: {
            /** @description The successor with its secret. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CreatedApiKey"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listApprovals: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
                state?: "open" | "approved" | "refused" | "expired" | "cancelled";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of approvals with their answers. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Approval"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getApproval: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The approval with its answers. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Approval"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    approveApproval: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": {
                    /** @description Kept with the answer. */
                    comment?: string;
                };
            };
        };
        responses: {
            /** @description The approval with the answer. It closes when the run has taken note, within moments. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Approval"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    refuseApproval: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": {
                    /** @description Kept with the answer. */
                    comment?: string;
                };
            };
        };
        responses: {
            /** @description The approval with the answer. It closes when the run has taken note, within moments. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Approval"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listAuditCheckpoints: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of checkpoints. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["AuditCheckpoint"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listAuditEntries: {
        parameters: {
            query?: {
                /** @description Exactly, e.g. `api-key.create`. */
                action?: string;
                /** @description Id of who did it: a key's, a user's, or the name of a process. */
                actor?: string;
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Acts at this time or later. */
                from?: string;
                /** @description Most items of the page. */
                limit?: number;
                minRisk?: number;
                /** @description Id of what it was done to. */
                resource?: string;
                result?: "succeeded" | "refused" | "failed";
                /** @description Acts before this time. */
                to?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of acts. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["AuditEntry"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getAuditEntry: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                seq: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The act. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuditEntryWithProof"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    exportAudit: {
        parameters: {
            query?: {
                /** @description Only entries after this number: the last one a SIEM has. */
                after?: number;
                /** @description `verifiable` for `hal9 audit verify`; JSON lines or CEF for a SIEM. */
                format?: "verifiable" | "jsonl" | "cef";
                /** @description Only from the first entry of this time on. */
                from?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The entries, oldest first; CEF is plain text. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/x-ndjson": string;
                    "text/plain; charset=utf-8": string;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    eraseAuditPersonal: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** Format: uuid */
                    userId: string;
                };
            };
        };
        responses: {
            /** @description Erased for good. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuditErasure"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    proveAuditConsistency: {
        parameters: {
            query: {
                from: number;
                /** @description Default: the latest checkpoint. */
                to?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The proof. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuditConsistencyProof"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    proveAuditInclusion: {
        parameters: {
            query: {
                seq: number;
                /** @description Default: of the latest checkpoint. */
                size?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The proof, with the signed checkpoint it leads to. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuditInclusionProof"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getAuditKeys: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Verifier keys (C2SP signed-note). */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuditKeys"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listAutomations: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of automations. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Automation"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    createAutomation: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description CEL bool over `signal`; a signal that does not meet it is recorded as skipped. */
                    condition?: string;
                    /** @default  */
                    description?: string;
                    effect: {
                        /**
                         * @description Field of the operation's input -> CEL expression over `signal`.
                         * @default {}
                         */
                        input?: {
                            [key: string]: string;
                        };
                        /** @constant */
                        kind: "operation";
                        /** @description Name of the operation, as in GET /v1/workflows. */
                        operation: string;
                    } | {
                        /**
                         * @description Field of the new signal's data -> CEL expression over `signal`.
                         * @default {}
                         */
                        data?: {
                            [key: string]: string;
                        };
                        /** @constant */
                        kind: "signal";
                        /** @description CEL string. */
                        subject?: string;
                        type: string;
                    };
                    /** @default true */
                    enabled?: boolean;
                    name: string;
                    trigger: {
                        /** @description CEL over `signal`. What it leaves out is not recorded as skipped. */
                        filter?: string;
                        /** @constant */
                        kind: "signal";
                        /** @description Exact sources, or prefixes ending in `*`; missing is all. */
                        sources?: string[];
                        /** @description Exact types, or prefixes ending in `.*`; `*` is all. */
                        types: string[];
                    } | {
                        filter?: string;
                        /**
                         * Format: uuid
                         * @description Id of the inbound webhook (`POST /v1/hooks`).
                         */
                        hookId: string;
                        /** @constant */
                        kind: "webhook";
                        /**
                         * @default [
                         *       "*"
                         *     ]
                         */
                        types?: string[];
                    } | {
                        filter?: string;
                        /** @constant */
                        kind: "schedule";
                        /**
                         * Format: uuid
                         * @description Id of a schedule that sends a signal (`POST /v1/schedules`).
                         */
                        scheduleId: string;
                    } | {
                        filter?: string;
                        /** @constant */
                        kind: "source";
                        /**
                         * Format: uuid
                         * @description Id of the AMQP or Kafka source (`POST /v1/sources`).
                         */
                        sourceId: string;
                        /**
                         * @default [
                         *       "*"
                         *     ]
                         */
                        types?: string[];
                    };
                };
            };
        };
        responses: {
            /** @description The automation. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SavedAutomation"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getAutomation: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The automation. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Automation"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    replaceAutomation: {
        parameters: {
            query?: never;
            header?: {
                /** @description Version that the change is made to, as the ETag or `version` of the resource says it; 412 if somebody changed it meanwhile. */
                "If-Match"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description CEL bool over `signal`; a signal that does not meet it is recorded as skipped. */
                    condition?: string;
                    /** @default  */
                    description?: string;
                    effect: {
                        /**
                         * @description Field of the operation's input -> CEL expression over `signal`.
                         * @default {}
                         */
                        input?: {
                            [key: string]: string;
                        };
                        /** @constant */
                        kind: "operation";
                        /** @description Name of the operation, as in GET /v1/workflows. */
                        operation: string;
                    } | {
                        /**
                         * @description Field of the new signal's data -> CEL expression over `signal`.
                         * @default {}
                         */
                        data?: {
                            [key: string]: string;
                        };
                        /** @constant */
                        kind: "signal";
                        /** @description CEL string. */
                        subject?: string;
                        type: string;
                    };
                    /** @default true */
                    enabled?: boolean;
                    name: string;
                    trigger: {
                        /** @description CEL over `signal`. What it leaves out is not recorded as skipped. */
                        filter?: string;
                        /** @constant */
                        kind: "signal";
                        /** @description Exact sources, or prefixes ending in `*`; missing is all. */
                        sources?: string[];
                        /** @description Exact types, or prefixes ending in `.*`; `*` is all. */
                        types: string[];
                    } | {
                        filter?: string;
                        /**
                         * Format: uuid
                         * @description Id of the inbound webhook (`POST /v1/hooks`).
                         */
                        hookId: string;
                        /** @constant */
                        kind: "webhook";
                        /**
                         * @default [
                         *       "*"
                         *     ]
                         */
                        types?: string[];
                    } | {
                        filter?: string;
                        /** @constant */
                        kind: "schedule";
                        /**
                         * Format: uuid
                         * @description Id of a schedule that sends a signal (`POST /v1/schedules`).
                         */
                        scheduleId: string;
                    } | {
                        filter?: string;
                        /** @constant */
                        kind: "source";
                        /**
                         * Format: uuid
                         * @description Id of the AMQP or Kafka source (`POST /v1/sources`).
                         */
                        sourceId: string;
                        /**
                         * @default [
                         *       "*"
                         *     ]
                         */
                        types?: string[];
                    };
                };
            };
        };
        responses: {
            /** @description The automation. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SavedAutomation"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    deleteAutomation: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is gone. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    disableAutomation: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The automation. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SavedAutomation"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    dryRunAutomation: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": {
                    /**
                     * @description How many of the latest signals that the trigger's types and sources match; those are looked for among the latest 100,000.
                     * @default 100
                     */
                    signals?: number;
                };
            };
        };
        responses: {
            /** @description What it would have done with each, newest first. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AutomationTrial"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    enableAutomation: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The automation. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SavedAutomation"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listAutomationFirings: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
                state?: "pending" | "fired" | "skipped" | "failed";
            };
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of firings. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["AutomationFiring"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listAutomationVersions: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Its versions. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: {
                            automation: {
                                /** @description CEL bool over `signal`; a signal that does not meet it is recorded as skipped. */
                                condition?: string;
                                /** @default  */
                                description: string;
                                effect: {
                                    /**
                                     * @description Field of the operation's input -> CEL expression over `signal`.
                                     * @default {}
                                     */
                                    input: {
                                        [key: string]: string;
                                    };
                                    /** @constant */
                                    kind: "operation";
                                    /** @description Name of the operation, as in GET /v1/workflows. */
                                    operation: string;
                                } | {
                                    /**
                                     * @description Field of the new signal's data -> CEL expression over `signal`.
                                     * @default {}
                                     */
                                    data: {
                                        [key: string]: string;
                                    };
                                    /** @constant */
                                    kind: "signal";
                                    /** @description CEL string. */
                                    subject?: string;
                                    type: string;
                                };
                                /** @default true */
                                enabled: boolean;
                                name: string;
                                trigger: {
                                    /** @description CEL over `signal`. What it leaves out is not recorded as skipped. */
                                    filter?: string;
                                    /** @constant */
                                    kind: "signal";
                                    /** @description Exact sources, or prefixes ending in `*`; missing is all. */
                                    sources?: string[];
                                    /** @description Exact types, or prefixes ending in `.*`; `*` is all. */
                                    types: string[];
                                } | {
                                    filter?: string;
                                    /**
                                     * Format: uuid
                                     * @description Id of the inbound webhook (`POST /v1/hooks`).
                                     */
                                    hookId: string;
                                    /** @constant */
                                    kind: "webhook";
                                    /**
                                     * @default [
                                     *       "*"
                                     *     ]
                                     */
                                    types: string[];
                                } | {
                                    filter?: string;
                                    /** @constant */
                                    kind: "schedule";
                                    /**
                                     * Format: uuid
                                     * @description Id of a schedule that sends a signal (`POST /v1/schedules`).
                                     */
                                    scheduleId: string;
                                } | {
                                    filter?: string;
                                    /** @constant */
                                    kind: "source";
                                    /**
                                     * Format: uuid
                                     * @description Id of the AMQP or Kafka source (`POST /v1/sources`).
                                     */
                                    sourceId: string;
                                    /**
                                     * @default [
                                     *       "*"
                                     *     ]
                                     */
                                    types: string[];
                                };
                            };
                            /** Format: date-time */
                            createdAt: string;
                            /** @description `<kind>:<id>`. */
                            createdBy: string;
                            version: number;
                        }[];
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    dryRunAutomationDraft: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    automation: {
                        /** @description CEL bool over `signal`; a signal that does not meet it is recorded as skipped. */
                        condition?: string;
                        /** @default  */
                        description?: string;
                        effect: {
                            /**
                             * @description Field of the operation's input -> CEL expression over `signal`.
                             * @default {}
                             */
                            input?: {
                                [key: string]: string;
                            };
                            /** @constant */
                            kind: "operation";
                            /** @description Name of the operation, as in GET /v1/workflows. */
                            operation: string;
                        } | {
                            /**
                             * @description Field of the new signal's data -> CEL expression over `signal`.
                             * @default {}
                             */
                            data?: {
                                [key: string]: string;
                            };
                            /** @constant */
                            kind: "signal";
                            /** @description CEL string. */
                            subject?: string;
                            type: string;
                        };
                        /** @default true */
                        enabled?: boolean;
                        name: string;
                        trigger: {
                            /** @description CEL over `signal`. What it leaves out is not recorded as skipped. */
                            filter?: string;
                            /** @constant */
                            kind: "signal";
                            /** @description Exact sources, or prefixes ending in `*`; missing is all. */
                            sources?: string[];
                            /** @description Exact types, or prefixes ending in `.*`; `*` is all. */
                            types: string[];
                        } | {
                            filter?: string;
                            /**
                             * Format: uuid
                             * @description Id of the inbound webhook (`POST /v1/hooks`).
                             */
                            hookId: string;
                            /** @constant */
                            kind: "webhook";
                            /**
                             * @default [
                             *       "*"
                             *     ]
                             */
                            types?: string[];
                        } | {
                            filter?: string;
                            /** @constant */
                            kind: "schedule";
                            /**
                             * Format: uuid
                             * @description Id of a schedule that sends a signal (`POST /v1/schedules`).
                             */
                            scheduleId: string;
                        } | {
                            filter?: string;
                            /** @constant */
                            kind: "source";
                            /**
                             * Format: uuid
                             * @description Id of the AMQP or Kafka source (`POST /v1/sources`).
                             */
                            sourceId: string;
                            /**
                             * @default [
                             *       "*"
                             *     ]
                             */
                            types?: string[];
                        };
                    };
                    /**
                     * @description How many of the latest signals that the trigger's types and sources match; those are looked for among the latest 100,000.
                     * @default 100
                     */
                    signals?: number;
                };
            };
        };
        responses: {
            /** @description What it would have done with each, newest first. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AutomationTrial"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    testAutomation: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    automation: {
                        /** @description CEL bool over `signal`; a signal that does not meet it is recorded as skipped. */
                        condition?: string;
                        /** @default  */
                        description?: string;
                        effect: {
                            /**
                             * @description Field of the operation's input -> CEL expression over `signal`.
                             * @default {}
                             */
                            input?: {
                                [key: string]: string;
                            };
                            /** @constant */
                            kind: "operation";
                            /** @description Name of the operation, as in GET /v1/workflows. */
                            operation: string;
                        } | {
                            /**
                             * @description Field of the new signal's data -> CEL expression over `signal`.
                             * @default {}
                             */
                            data?: {
                                [key: string]: string;
                            };
                            /** @constant */
                            kind: "signal";
                            /** @description CEL string. */
                            subject?: string;
                            type: string;
                        };
                        /** @default true */
                        enabled?: boolean;
                        name: string;
                        trigger: {
                            /** @description CEL over `signal`. What it leaves out is not recorded as skipped. */
                            filter?: string;
                            /** @constant */
                            kind: "signal";
                            /** @description Exact sources, or prefixes ending in `*`; missing is all. */
                            sources?: string[];
                            /** @description Exact types, or prefixes ending in `.*`; `*` is all. */
                            types: string[];
                        } | {
                            filter?: string;
                            /**
                             * Format: uuid
                             * @description Id of the inbound webhook (`POST /v1/hooks`).
                             */
                            hookId: string;
                            /** @constant */
                            kind: "webhook";
                            /**
                             * @default [
                             *       "*"
                             *     ]
                             */
                            types?: string[];
                        } | {
                            filter?: string;
                            /** @constant */
                            kind: "schedule";
                            /**
                             * Format: uuid
                             * @description Id of a schedule that sends a signal (`POST /v1/schedules`).
                             */
                            scheduleId: string;
                        } | {
                            filter?: string;
                            /** @constant */
                            kind: "source";
                            /**
                             * Format: uuid
                             * @description Id of the AMQP or Kafka source (`POST /v1/sources`).
                             */
                            sourceId: string;
                            /**
                             * @default [
                             *       "*"
                             *     ]
                             */
                            types?: string[];
                        };
                    };
                    signals: ({
                        data?: unknown;
                        data_base64?: string;
                        datacontenttype?: string;
                        dataschema?: string;
                        hal9subject?: string;
                        /** @default sample */
                        id?: string;
                        partitionkey?: string;
                        /** @default test */
                        source?: string;
                        /**
                         * @default 1.0
                         * @constant
                         */
                        specversion?: "1.0";
                        subject?: string;
                        /** Format: date-time */
                        time?: string;
                        traceparent?: string;
                        type: string;
                    } & {
                        [key: string]: unknown;
                    })[];
                };
            };
        };
        responses: {
            /** @description What it would do with each, in their order. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AutomationTrial"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getBilling: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description As the payment provider last told. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Billing"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    receiveBillingEvent: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    [key: string]: unknown;
                };
            };
        };
        responses: {
            /** @description Received. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @description Whether it was news. */
                        applied: boolean;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    subscribe: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @enum {string} */
                    plan: "free" | "starter" | "professional" | "enterprise";
                };
            };
        };
        responses: {
            /** @description The subscription now. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Billing"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    cancelSubscription: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The subscription with its end. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Billing"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listBudgets: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Day, month and cascade. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Budget"][];
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    replaceBudgets: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description Any one cascade. Neurons may set a lower limit of their own. */
                    cascade?: {
                        /** @description Calls to models. */
                        calls?: number;
                        /** @description Input and output tokens together. */
                        tokens?: number;
                        /** @description US dollars, counted to the billionth. */
                        usd?: number;
                    };
                    /** @description The organisation in one day (UTC). */
                    day?: {
                        /** @description Calls to models. */
                        calls?: number;
                        /** @description Input and output tokens together. */
                        tokens?: number;
                        /** @description US dollars, counted to the billionth. */
                        usd?: number;
                    };
                    /** @description The organisation in one calendar month (UTC). */
                    month?: {
                        /** @description Calls to models. */
                        calls?: number;
                        /** @description Input and output tokens together. */
                        tokens?: number;
                        /** @description US dollars, counted to the billionth. */
                        usd?: number;
                    };
                };
            };
        };
        responses: {
            /** @description The limits now. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Budget"][];
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listChainNetworks: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of networks. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["ChainNetwork"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    addChainNetwork: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description MemoryAnchor. */
                    anchor: string;
                    /** Format: uuid */
                    chain: string;
                    /** @description Governance. */
                    governance?: string;
                    /** @description ComputationMarket; the registry must have given it MARKET_ROLE. */
                    market: string;
                    name: string;
                    /** @description NeuronRegistry. */
                    registry: string;
                    /** @description The timelock of Governance. */
                    timelock?: string;
                    /** @description IncentiveToken. */
                    token: string;
                };
            };
        };
        responses: {
            /** @description The network. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ChainNetwork"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getChainNetwork: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The network. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ChainNetwork"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getChainAccount: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                address: string;
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The account, as the last block has it. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ChainAccount"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    actOnChainNetwork: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    action: {
                        amount: string;
                        /** @constant */
                        kind: "transfer";
                        to: string;
                    } | {
                        amount: string;
                        /** @constant */
                        kind: "stake";
                        lockDays: number;
                    } | {
                        /** @constant */
                        kind: "unstake";
                        position: number;
                    } | {
                        /** @constant */
                        kind: "claim";
                    } | {
                        /** @constant */
                        kind: "withdraw";
                    } | {
                        bond: string;
                        /** @description Hash of what describes the neuron. */
                        identity: string;
                        /** @constant */
                        kind: "register";
                        roles: ("compute" | "verify" | "arbitrate")[];
                    } | {
                        /** @constant */
                        kind: "leave";
                    } | {
                        /** @constant */
                        kind: "exit";
                    } | {
                        /** @default true */
                        active?: boolean;
                        details: string;
                        /** @constant */
                        kind: "list";
                        price: string;
                    } | {
                        /** @constant */
                        kind: "delegate";
                        to: string;
                    } | {
                        /** @description What the timelock executes when it is accepted. */
                        calls: {
                            data: string;
                            to: string;
                        }[];
                        description: string;
                        /** @constant */
                        kind: "propose";
                    } | {
                        /** @constant */
                        kind: "vote";
                        proposal: string;
                        /** @enum {string} */
                        support: "against" | "for" | "abstain";
                    } | {
                        /** @description What the timelock executes when it is accepted. */
                        calls: {
                            data: string;
                            to: string;
                        }[];
                        description: string;
                        /** @constant */
                        kind: "queue";
                    } | {
                        /** @description What the timelock executes when it is accepted. */
                        calls: {
                            data: string;
                            to: string;
                        }[];
                        description: string;
                        /** @constant */
                        kind: "execute";
                    };
                    /** @description Your own name for it: sent again with the same one it is done once. */
                    reference?: string;
                    /**
                     * Format: uuid
                     * @description Who does it.
                     */
                    signer: string;
                };
            };
        };
        responses: {
            /** @description The transactions. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TokenAction"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listChainSigners: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of signers. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["ChainSigner"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    createChainSigner: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** Format: uuid */
                    chain: string;
                    /**
                     * @default {
                     *       "kind": "kept"
                     *     }
                     */
                    key?: {
                        /** @constant */
                        kind: "kept";
                    } | {
                        /** @constant */
                        kind: "env";
                        name: string;
                    } | {
                        /** @constant */
                        kind: "file";
                        name: string;
                    } | {
                        /** @constant */
                        kind: "kms";
                        name: string;
                    };
                    name: string;
                };
            };
        };
        responses: {
            /** @description The signer with its address. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ChainSigner"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getChainSigner: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The signer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ChainSigner"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listChainTransactions: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
                signer?: string;
                state?: "queued" | "pending" | "mined" | "confirmed" | "failed" | "cancelled";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of transactions. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["ChainTransaction"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    submitChainTransaction: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ChainTransactionDraft"];
            };
        };
        responses: {
            /** @description The transaction. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ChainTransaction"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getChainTransaction: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The transaction. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ChainTransactionDetail"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    cancelChainTransaction: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The transaction. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ChainTransaction"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    submitChainTransactions: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description Their nonces follow this order. */
                    transactions: components["schemas"]["ChainTransactionDraft"][];
                };
            };
        };
        responses: {
            /** @description What became of each, in the order of the request. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ChainTransactionReceipts"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listChains: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of chains, without the addresses of their nodes. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Chain"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    createChain: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description EIP-155, e.g. 1 for Ethereum, 137 for Polygon, 42161 for Arbitrum One. */
                    chainId: number;
                    name: string;
                    /** @default {} */
                    policy?: {
                        /** @description Time after which a transaction that is next in line is sent again with higher fees. Default: three blocks. */
                        bumpAfterSeconds?: number;
                        /**
                         * @description By how much fees rise then. Nodes ask for 10 at least.
                         * @default 15
                         */
                        bumpPercent?: number;
                        /** @description Blocks on top, its own counted, after which a transaction is `confirmed`. Default: 12 on Ethereum, 64 on Polygon, 20 on Arbitrum, 2 elsewhere. */
                        confirmations?: number;
                        /** @description Submissions with `batch` that leave as one transaction at most. 1: each by itself. Default: 100. */
                        maxBatch?: number;
                        /**
                         * @description Never more than so many wei for a unit of gas. While the chain asks for more, transactions wait.
                         * @default 300000000000
                         */
                        maxFeePerGas?: string;
                        /**
                         * @description Transactions of one signer that are sent and not mined.
                         * @default 64
                         */
                        maxInFlight?: number;
                        /** @description Milliseconds between two looks at the chain. Default: a third of its block time, at least 250. */
                        pollMs?: number;
                        /**
                         * @description Tip for a unit of gas, wei.
                         * @default 1000000000
                         */
                        priorityFeePerGas?: string;
                        /**
                         * @description Nodes that must agree on a block before what is in it counts as confirmed.
                         * @default 1
                         */
                        quorum?: number;
                        /**
                         * @description Blocks after that during which a reorganisation is still followed.
                         * @default 64
                         */
                        watchBlocks?: number;
                    };
                    /** @description JSON-RPC over HTTP, in the order they are asked. They are kept encrypted and not shown again. */
                    rpcUrls: string[];
                };
            };
        };
        responses: {
            /** @description The chain. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Chain"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getChain: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The chain. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Chain"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    changeChain: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description EIP-155, e.g. 1 for Ethereum, 137 for Polygon, 42161 for Arbitrum One. */
                    chainId: number;
                    name: string;
                    /** @default {} */
                    policy?: {
                        /** @description Time after which a transaction that is next in line is sent again with higher fees. Default: three blocks. */
                        bumpAfterSeconds?: number;
                        /**
                         * @description By how much fees rise then. Nodes ask for 10 at least.
                         * @default 15
                         */
                        bumpPercent?: number;
                        /** @description Blocks on top, its own counted, after which a transaction is `confirmed`. Default: 12 on Ethereum, 64 on Polygon, 20 on Arbitrum, 2 elsewhere. */
                        confirmations?: number;
                        /** @description Submissions with `batch` that leave as one transaction at most. 1: each by itself. Default: 100. */
                        maxBatch?: number;
                        /**
                         * @description Never more than so many wei for a unit of gas. While the chain asks for more, transactions wait.
                         * @default 300000000000
                         */
                        maxFeePerGas?: string;
                        /**
                         * @description Transactions of one signer that are sent and not mined.
                         * @default 64
                         */
                        maxInFlight?: number;
                        /** @description Milliseconds between two looks at the chain. Default: a third of its block time, at least 250. */
                        pollMs?: number;
                        /**
                         * @description Tip for a unit of gas, wei.
                         * @default 1000000000
                         */
                        priorityFeePerGas?: string;
                        /**
                         * @description Nodes that must agree on a block before what is in it counts as confirmed.
                         * @default 1
                         */
                        quorum?: number;
                        /**
                         * @description Blocks after that during which a reorganisation is still followed.
                         * @default 64
                         */
                        watchBlocks?: number;
                    };
                    /** @description JSON-RPC over HTTP, in the order they are asked. They are kept encrypted and not shown again. */
                    rpcUrls: string[];
                };
            };
        };
        responses: {
            /** @description The chain. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Chain"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getCompliance: {
        parameters: {
            query?: {
                /** @description First day (UTC). Default: 90 days ago. */
                from?: string;
                /** @description Last day (UTC). Default: today. */
                to?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Each control; days without evidence are gaps. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        controls: components["schemas"]["Control"][];
                        /** Format: date */
                        from: string;
                        /** @description Clauses that no software meets. */
                        leftToYou: {
                            [key: string]: string[];
                        };
                        /** Format: date */
                        to: string;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listEvidence: {
        parameters: {
            query?: {
                /** @description Only evidence before this time. */
                before?: string;
                limit?: number;
            };
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What was collected. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Evidence"][];
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listConnections: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of connections, without their secrets. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Connection"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    createConnection: {
        parameters: {
            query?: {
                /** @description Whether the settings must pass a test before they are saved. */
                test?: "true" | "false";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description What neurons, operations and approvals call it. */
                    name: string;
                    settings: {
                        /** @description Sender address. */
                        from: string;
                        host: string;
                        /** @constant */
                        kind: "smtp";
                        /** @description Password of the user. */
                        password?: string;
                        /** @default 587 */
                        port?: number;
                        /**
                         * @description `starttls` is required, not merely offered; `none` sends in the clear.
                         * @default starttls
                         * @enum {string}
                         */
                        tls?: "starttls" | "implicit" | "none";
                        /** @description Recipients of every message. */
                        to: string[];
                        username?: string;
                    } | {
                        /** @constant */
                        kind: "slack";
                        /**
                         * Format: uri
                         * @description Incoming-webhook URL; Slack, Mattermost, Rocket.Chat. The URL is the secret.
                         */
                        url: string;
                    } | {
                        /**
                         * Format: uri
                         * @default https://events.pagerduty.com
                         */
                        baseUrl?: string;
                        /** @constant */
                        kind: "pagerduty";
                        /** @description Integration key of the service (Events API v2). */
                        routingKey: string;
                    } | {
                        /**
                         * @description Headers sent with every request. Their values are secret.
                         * @default {}
                         */
                        headers?: {
                            [key: string]: string;
                        };
                        /** @constant */
                        kind: "webhook";
                        /** @description Signs each message as Standard Webhooks say: headers webhook-id, webhook-timestamp, webhook-signature. */
                        secret?: string;
                        /**
                         * Format: uri
                         * @description Receives a POST of JSON. Its path and query are kept secret.
                         */
                        url: string;
                    } | {
                        /** @description API key of the provider. */
                        apiKey: string;
                        /**
                         * Format: uri
                         * @description With the version segment, e.g. `https://api.anthropic.com/v1`. Default: the provider's own; required for `openai-compatible`.
                         */
                        baseUrl?: string;
                        /** @constant */
                        kind: "llm";
                        /** @enum {string} */
                        provider: "anthropic" | "openai" | "openai-compatible";
                    } | {
                        /**
                         * Format: uri
                         * @description Neurons may call this origin with these headers, and no other.
                         */
                        baseUrl: string;
                        /**
                         * @description Headers sent with every request. Their values are secret.
                         * @default {}
                         */
                        headers?: {
                            [key: string]: string;
                        };
                        /** @constant */
                        kind: "http";
                    } | {
                        host: string;
                        /** @constant */
                        kind: "amqp";
                        /** @description Password of the user. */
                        password: string;
                        /** @description Default 5671 with TLS, 5672 without. */
                        port?: number;
                        /** @default true */
                        tls?: boolean;
                        username: string;
                        /**
                         * @description Virtual host.
                         * @default /
                         */
                        vhost?: string;
                    } | {
                        /** @description Some brokers of the cluster; they name the others. */
                        brokers: string[];
                        /** @description PEM of the authorities that sign the brokers' certificates. Default: those everybody trusts. */
                        ca?: string;
                        /** @constant */
                        kind: "kafka";
                        /**
                         * @description How SASL proves the password.
                         * @default scram-sha-512
                         * @enum {string}
                         */
                        mechanism?: "plain" | "scram-sha-256" | "scram-sha-512";
                        /** @description Password of the user. */
                        password?: string;
                        /** @default true */
                        tls?: boolean;
                        /** @description Without one no SASL is spoken. */
                        username?: string;
                    } | {
                        /** @constant */
                        kind: "website";
                        /** @description Origins whose pages may be given the credential, e.g. `https://shop.example`. */
                        origins: string[];
                        /** @description What is typed as the password. */
                        password?: string;
                        /** @description Base32 seed of one-time codes (RFC 6238, SHA-1, six digits, 30 s). */
                        totpSeed?: string;
                        /** @description What is typed as the name. */
                        username?: string;
                    } | {
                        /** @description PEM of the authority that signs its certificate. Default: those everybody trusts. */
                        ca?: string;
                        /** @constant */
                        kind: "kubernetes";
                        /**
                         * Format: uri
                         * @description Address of the API server, e.g. `https://10.0.0.1:6443`.
                         */
                        server: string;
                        /** @description Token of a service account. */
                        token: string;
                    } | {
                        /**
                         * @description Headers sent with every request. Their values are secret.
                         * @default {}
                         */
                        headers?: {
                            [key: string]: string;
                        };
                        /** @constant */
                        kind: "ipfs";
                        /**
                         * Format: uri
                         * @description Address of the RPC API of a Kubo node, e.g. `http://10.0.0.1:5001`.
                         */
                        url: string;
                    } | {
                        /**
                         * Format: uri
                         * @description Trustless gateway that has what the service pins.
                         */
                        gateway: string;
                        /** @constant */
                        kind: "pinning";
                        /** @description Access token of the service. */
                        token: string;
                        /**
                         * Format: uri
                         * @description Endpoint of the service (IPFS Pinning Service API).
                         */
                        url: string;
                    };
                };
            };
        };
        responses: {
            /** @description The connection, without its secrets. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Connection"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getConnection: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The connection, without its secrets. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Connection"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    replaceConnection: {
        parameters: {
            query?: {
                /** @description Whether the settings must pass a test before they are saved. */
                test?: "true" | "false";
            };
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description All settings, secrets included; the kind cannot change. */
                    settings: {
                        /** @description Sender address. */
                        from: string;
                        host: string;
                        /** @constant */
                        kind: "smtp";
                        /** @description Password of the user. */
                        password?: string;
                        /** @default 587 */
                        port?: number;
                        /**
                         * @description `starttls` is required, not merely offered; `none` sends in the clear.
                         * @default starttls
                         * @enum {string}
                         */
                        tls?: "starttls" | "implicit" | "none";
                        /** @description Recipients of every message. */
                        to: string[];
                        username?: string;
                    } | {
                        /** @constant */
                        kind: "slack";
                        /**
                         * Format: uri
                         * @description Incoming-webhook URL; Slack, Mattermost, Rocket.Chat. The URL is the secret.
                         */
                        url: string;
                    } | {
                        /**
                         * Format: uri
                         * @default https://events.pagerduty.com
                         */
                        baseUrl?: string;
                        /** @constant */
                        kind: "pagerduty";
                        /** @description Integration key of the service (Events API v2). */
                        routingKey: string;
                    } | {
                        /**
                         * @description Headers sent with every request. Their values are secret.
                         * @default {}
                         */
                        headers?: {
                            [key: string]: string;
                        };
                        /** @constant */
                        kind: "webhook";
                        /** @description Signs each message as Standard Webhooks say: headers webhook-id, webhook-timestamp, webhook-signature. */
                        secret?: string;
                        /**
                         * Format: uri
                         * @description Receives a POST of JSON. Its path and query are kept secret.
                         */
                        url: string;
                    } | {
                        /** @description API key of the provider. */
                        apiKey: string;
                        /**
                         * Format: uri
                         * @description With the version segment, e.g. `https://api.anthropic.com/v1`. Default: the provider's own; required for `openai-compatible`.
                         */
                        baseUrl?: string;
                        /** @constant */
                        kind: "llm";
                        /** @enum {string} */
                        provider: "anthropic" | "openai" | "openai-compatible";
                    } | {
                        /**
                         * Format: uri
                         * @description Neurons may call this origin with these headers, and no other.
                         */
                        baseUrl: string;
                        /**
                         * @description Headers sent with every request. Their values are secret.
                         * @default {}
                         */
                        headers?: {
                            [key: string]: string;
                        };
                        /** @constant */
                        kind: "http";
                    } | {
                        host: string;
                        /** @constant */
                        kind: "amqp";
                        /** @description Password of the user. */
                        password: string;
                        /** @description Default 5671 with TLS, 5672 without. */
                        port?: number;
                        /** @default true */
                        tls?: boolean;
                        username: string;
                        /**
                         * @description Virtual host.
                         * @default /
                         */
                        vhost?: string;
                    } | {
                        /** @description Some brokers of the cluster; they name the others. */
                        brokers: string[];
                        /** @description PEM of the authorities that sign the brokers' certificates. Default: those everybody trusts. */
                        ca?: string;
                        /** @constant */
                        kind: "kafka";
                        /**
                         * @description How SASL proves the password.
                         * @default scram-sha-512
                         * @enum {string}
                         */
                        mechanism?: "plain" | "scram-sha-256" | "scram-sha-512";
                        /** @description Password of the user. */
                        password?: string;
                        /** @default true */
                        tls?: boolean;
                        /** @description Without one no SASL is spoken. */
                        username?: string;
                    } | {
                        /** @constant */
                        kind: "website";
                        /** @description Origins whose pages may be given the credential, e.g. `https://shop.example`. */
                        origins: string[];
                        /** @description What is typed as the password. */
                        password?: string;
                        /** @description Base32 seed of one-time codes (RFC 6238, SHA-1, six digits, 30 s). */
                        totpSeed?: string;
                        /** @description What is typed as the name. */
                        username?: string;
                    } | {
                        /** @description PEM of the authority that signs its certificate. Default: those everybody trusts. */
                        ca?: string;
                        /** @constant */
                        kind: "kubernetes";
                        /**
                         * Format: uri
                         * @description Address of the API server, e.g. `https://10.0.0.1:6443`.
                         */
                        server: string;
                        /** @description Token of a service account. */
                        token: string;
                    } | {
                        /**
                         * @description Headers sent with every request. Their values are secret.
                         * @default {}
                         */
                        headers?: {
                            [key: string]: string;
                        };
                        /** @constant */
                        kind: "ipfs";
                        /**
                         * Format: uri
                         * @description Address of the RPC API of a Kubo node, e.g. `http://10.0.0.1:5001`.
                         */
                        url: string;
                    } | {
                        /**
                         * Format: uri
                         * @description Trustless gateway that has what the service pins.
                         */
                        gateway: string;
                        /** @constant */
                        kind: "pinning";
                        /** @description Access token of the service. */
                        token: string;
                        /**
                         * Format: uri
                         * @description Endpoint of the service (IPFS Pinning Service API).
                         */
                        url: string;
                    };
                    /** @description Refuse unless this is the version being replaced. */
                    version?: number;
                };
            };
        };
        responses: {
            /** @description The connection at its next version. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Connection"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    deleteConnection: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is gone. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    listConnectionDeliveries: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of deliveries; empty for a connection that carried none. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Delivery"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    rotateConnection: {
        parameters: {
            query?: {
                /** @description Whether the settings must pass a test before they are saved. */
                test?: "true" | "false";
            };
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /**
                     * @description The settings that change, usually the secrets; the others stay. `{}` seals the same settings with the current master key.
                     * @default {}
                     */
                    settings?: {
                        [key: string]: unknown;
                    };
                };
            };
        };
        responses: {
            /** @description The connection at its next version. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Connection"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    testConnection: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The connection; `state` and `lastFailure` say what the test found. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Connection"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listConsensus: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of rounds. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Consensus"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getConsensus: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The round. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ConsensusDetail"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    recordConsent: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /**
                     * Format: date-time
                     * @description When the person decided; default now. Not in the future.
                     */
                    at?: string;
                    /** @description What the person is found by in the declared sources, by kind: with it the decision is carried into every field that keeps this consent, and `changeId` says how that stands. */
                    identities?: {
                        [key: string]: string[];
                    };
                    /**
                     * @default consent
                     * @enum {string}
                     */
                    legalBasis?: "consent" | "explicit-consent" | "contract" | "legal-obligation" | "vital-interests" | "public-task" | "legitimate-interests";
                    /** @description What proves it, e.g. the form as sent. Its SHA-256 is kept; keep the proof yourself. */
                    proof?: string;
                    /** @description E.g. `newsletter`. */
                    purpose: string;
                    /** @description Where it was decided, e.g. `signup-form`. */
                    source: string;
                    /** @enum {string} */
                    state: "given" | "withdrawn";
                    /** @description How your systems know the person, e.g. a customer number or an e-mail address. Only its keyed hash is kept. */
                    subject: string;
                    /** @description Version of the words the person saw. */
                    textVersion: string;
                };
            };
        };
        responses: {
            /** @description The record. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RecordedConsent"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    checkConsent: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description E.g. `newsletter`. */
                    purpose: string;
                    /** @description How your systems know the person, e.g. a customer number or an e-mail address. Only its keyed hash is kept. */
                    subject: string;
                };
            };
        };
        responses: {
            /** @description The answer with the record it rests on. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @description Whether the last record of the purpose gave it. False where there is none. */
                        granted: boolean;
                        record: components["schemas"]["Consent"] | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listConsentPurposes: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description By purpose. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @description Subjects by how they stand. */
                        items: {
                            given: number;
                            /** @description E.g. `newsletter`. */
                            purpose: string;
                            withdrawn: number;
                        }[];
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    queryConsents: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description How your systems know the person, e.g. a customer number or an e-mail address. Only its keyed hash is kept. */
                    subject: string;
                };
            };
        };
        responses: {
            /** @description How each purpose stands, and how it came to. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @description The last record of each purpose. */
                        current: components["schemas"]["Consent"][];
                        /** @description Newest first, at most 1,000. */
                        history: components["schemas"]["Consent"][];
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listContents: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of content. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Content"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    addContent: {
        parameters: {
            query?: never;
            header?: {
                /** @description Whom it is about, `kind:value`: their key seals it, and an erasure destroys that. */
                "HAL9-Subject"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "*/*": unknown;
            };
        };
        responses: {
            /** @description What is kept, and by whom. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Content"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getContent: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What is kept, and by whom. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Content"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    removeContent: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is gone. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    readContent: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The content in the clear. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": unknown;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    repairContent: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Who keeps it now. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Content"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listDeadLetters: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
                replayed?: "true" | "false";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of dead letters, each with its cause. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: {
                            /** Format: uuid */
                            batch: string;
                            cause: string;
                            /** Format: date-time */
                            createdAt: string;
                            failure: string;
                            /** Format: uuid */
                            id: string;
                            layer: string;
                            neuron: string | null;
                            neuronVersion: number | null;
                            /** Format: uuid */
                            ref: string;
                            replayedAt: string | null;
                        }[];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    replayDeadLetter: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Committed. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        signals: string[];
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listDecisions: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Decided at or after. */
                from?: string;
                layer?: "L2" | "L3" | "L4";
                /** @description Most items of the page. */
                limit?: number;
                neuron?: string;
                severity?: "info" | "warning" | "critical";
                state?: "none" | "pending" | "awaiting-approval" | "done" | "refused" | "failed";
                /** @description Decided before. */
                to?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of decisions. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Decision"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getDecision: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The decision. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Decision"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listEndpointDeliveries: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                endpoint?: string;
                /** @description Most items of the page. */
                limit?: number;
                state?: "pending" | "delivered" | "failed" | "abandoned";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of deliveries. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["EndpointDelivery"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getEndpointDelivery: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The delivery. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EndpointDeliveryDetail"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    redeliverToEndpoint: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The delivery, waiting again. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EndpointDelivery"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listFactors: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The factors and how many recovery codes are left. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FactorList"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    removeFactor: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is gone. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    finishPasskey: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** Format: uuid */
                    challengeId: string;
                    /**
                     * @description What you call it.
                     * @default Passkey
                     */
                    name?: string;
                    response: {
                        /** @enum {string} */
                        authenticatorAttachment?: "cross-platform" | "platform";
                        clientExtensionResults: {
                            [key: string]: unknown;
                        };
                        id: string;
                        rawId: string;
                        response: {
                            attestationObject: string;
                            clientDataJSON: string;
                            transports?: ("ble" | "cable" | "hybrid" | "internal" | "nfc" | "smart-card" | "usb")[];
                        } & {
                            [key: string]: unknown;
                        };
                        /** @constant */
                        type: "public-key";
                    } & {
                        [key: string]: unknown;
                    };
                };
            };
        };
        responses: {
            /** @description Added. Recovery codes come with the first factor. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @description Shown this once; empty when there were some already. */
                        recoveryCodes: string[];
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    beginPasskey: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Options for `navigator.credentials.create`. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** Format: uuid */
                        challengeId: string;
                        options: {
                            [key: string]: unknown;
                        };
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    renewRecoveryCodes: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The codes, shown this once. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @description Shown this once; empty when there were some already. */
                        recoveryCodes: string[];
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    finishTotp: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** Format: uuid */
                    challengeId: string;
                    code: string;
                    /**
                     * @description What you call it.
                     * @default Authenticator app
                     */
                    name?: string;
                };
            };
        };
        responses: {
            /** @description Added. Recovery codes come with the first factor. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @description Shown this once; empty when there were some already. */
                        recoveryCodes: string[];
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    beginTotp: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The secret, shown this once. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TotpEnrolment"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listFeatures: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Features by name. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Features"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listHealthComponents: {
        parameters: {
            query?: {
                /** @description Most recoveries to return, newest first. */
                recoveries?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The picture as of now; while PostgreSQL is away, the last one with PostgreSQL named. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HealthPicture"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    answerWebhookHandshake: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                hookId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The challenge, as it came. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain; charset=utf-8": unknown;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    receiveWebhook: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                hookId: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "*/*": unknown;
            };
        };
        responses: {
            /** @description The answer to a question of the provider. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain; charset=utf-8": unknown;
                };
            };
            /** @description Its signals are committed. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HookReceipt"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listIdentityProviders: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of providers, without their secrets. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["IdentityProvider"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    createIdentityProvider: {
        parameters: {
            query?: {
                /** @description Whether the settings must pass a test before they are saved. */
                test?: "true" | "false";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @default true */
                    enabled?: boolean;
                    /** @description What people see on the button of the sign-in page. */
                    name: string;
                    /**
                     * @description Whether somebody unknown becomes a user at the first sign-in. With `false` people are invited or provisioned first.
                     * @default true
                     */
                    provisions?: boolean;
                    /** @default {} */
                    roleMapping?: {
                        /**
                         * @description Roles of everybody who signs in by the provider.
                         * @default []
                         */
                        default?: string[];
                        /**
                         * @description Roles by the provider's group.
                         * @default {}
                         */
                        groups?: {
                            [key: string]: string[];
                        };
                    };
                    settings: {
                        /**
                         * @description Further parameters of the authorization request, e.g. `acr_values` or `domain_hint`.
                         * @default {}
                         */
                        authorizationParameters?: {
                            [key: string]: string;
                        };
                        /**
                         * @description Claims that hold the name a person signs in with (e-mail, then subject, when absent), the address, the full name and the groups.
                         * @default {}
                         */
                        claims?: {
                            /** @default name */
                            displayName?: string;
                            /** @default email */
                            email?: string;
                            /** @default groups */
                            groups?: string;
                            /** @default preferred_username */
                            userName?: string;
                        };
                        /**
                         * @description How the secret is sent to the token endpoint.
                         * @default client_secret_basic
                         * @enum {string}
                         */
                        clientAuthentication?: "client_secret_basic" | "client_secret_post";
                        /** @description Client id that the provider gave HAL9. */
                        clientId: string;
                        /** @description Client secret. Left out for a public client, which then rests on PKCE alone. */
                        clientSecret?: string;
                        /**
                         * @description How far the provider's clock may be off.
                         * @default 30
                         */
                        clockSkewSeconds?: number;
                        /**
                         * Format: uri
                         * @description Issuer, exactly as the provider writes it in its tokens. Its `/.well-known/openid-configuration` is read.
                         */
                        issuer: string;
                        /** @constant */
                        kind: "oidc";
                        /** @description Seconds since the person last proved who they are at the provider; older asks again. */
                        maxAgeSeconds?: number;
                        /**
                         * @description What the provider asks of people who have a session there. Default: its own choice.
                         * @enum {string}
                         */
                        prompt?: "login" | "consent" | "select_account";
                        /**
                         * @description Claims of the ID token that must have one of these values, e.g. the tenant. Anything else is refused.
                         * @default {}
                         */
                        requiredClaims?: {
                            [key: string]: string[];
                        };
                        /**
                         * @description What is asked for; `openid` is always among them.
                         * @default [
                         *       "openid",
                         *       "profile",
                         *       "email"
                         *     ]
                         */
                        scopes?: string[];
                        /**
                         * @description Whether an address that the provider calls verified links to the user who has it here. Only for a provider that owns the addresses of its people.
                         * @default false
                         */
                        trustsEmail?: boolean;
                        /**
                         * @description Whether the UserInfo endpoint is asked too; for providers whose ID tokens lack e-mail or groups.
                         * @default false
                         */
                        userInfo?: boolean;
                    } | {
                        /**
                         * @description Believe signatures that use SHA-1. Only for a provider that cannot do better.
                         * @default false
                         */
                        allowSha1?: boolean;
                        /**
                         * @description Names of the attributes that hold the name a person signs in with, the address, the full name and the groups.
                         * @default {}
                         */
                        attributes?: {
                            /** @default displayName */
                            displayName?: string;
                            /** @default email */
                            email?: string;
                            /** @default groups */
                            groups?: string;
                            /** @description Default: the NameID. */
                            userName?: string;
                        };
                        /**
                         * @description How the request travels to it. Answers always come by POST.
                         * @default redirect
                         * @enum {string}
                         */
                        binding?: "redirect" | "post";
                        /** @description PEM certificates the provider signs with. Pinned: their dates are not looked at. Two while it changes its key. */
                        certificates: string[];
                        /**
                         * @description How far the provider's clock may be off.
                         * @default 60
                         */
                        clockSkewSeconds?: number;
                        /**
                         * @description Whether assertions must be encrypted. They may be in any case, with the certificate in the metadata.
                         * @default false
                         */
                        encrypted?: boolean;
                        /** @description Entity id of the provider, exactly as in its metadata. */
                        entityId: string;
                        /**
                         * @description Whether people must show who they are although they have a session at the provider.
                         * @default false
                         */
                        forceSignIn?: boolean;
                        /**
                         * @description Whether the provider may sign people in without being asked. Such a sign-in is not bound to a browser: leave it off where you can.
                         * @default false
                         */
                        idpInitiated?: boolean;
                        /** @constant */
                        kind: "saml";
                        /**
                         * Format: uri
                         * @description Single logout service of the provider, reached by redirect. Without one, signing out ends the session here only.
                         */
                        logoutUrl?: string;
                        /**
                         * @description Kind of name asked for. A person is known by it: it must never be given to somebody else. `transient` names are refused.
                         * @default persistent
                         * @enum {string}
                         */
                        nameId?: "persistent" | "emailAddress" | "unspecified";
                        /**
                         * @description Authentication contexts by which the provider says that it asked for a second factor; HAL9 then asks for none.
                         * @default [
                         *       "https://refeds.org/profile/mfa",
                         *       "http://schemas.microsoft.com/claims/multipleauthn",
                         *       "urn:oasis:names:tc:SAML:2.0:ac:classes:MobileTwoFactorContract",
                         *       "urn:oasis:names:tc:SAML:2.0:ac:classes:TimeSyncToken"
                         *     ]
                         */
                        secondFactorContexts?: string[];
                        /** @description PEM certificate of it, published in the metadata. Made with the key. */
                        serviceCertificate?: string;
                        /** @description PEM RSA key that signs requests and opens encrypted assertions. Made when left out. */
                        serviceKey?: string;
                        /**
                         * @description What the provider must sign. Whatever carries a signature must carry a valid one.
                         * @default either
                         * @enum {string}
                         */
                        signed?: "either" | "assertion" | "response" | "both";
                        /**
                         * Format: uri
                         * @description Single sign-on service of the provider.
                         */
                        signInUrl: string;
                        /**
                         * @description Whether an address in an assertion links to the user who has it here. Only for a provider that owns the addresses of its people.
                         * @default false
                         */
                        trustsEmail?: boolean;
                    } | {
                        /**
                         * @description Believe signatures that use SHA-1. Only for a provider that cannot do better.
                         * @default false
                         */
                        allowSha1?: boolean;
                        /**
                         * @description Names of the attributes that hold the name a person signs in with, the address, the full name and the groups.
                         * @default {}
                         */
                        attributes?: {
                            /** @default displayName */
                            displayName?: string;
                            /** @default email */
                            email?: string;
                            /** @default groups */
                            groups?: string;
                            /** @description Default: the NameID. */
                            userName?: string;
                        };
                        /**
                         * @description How far the provider's clock may be off.
                         * @default 60
                         */
                        clockSkewSeconds?: number;
                        /**
                         * @description Whether assertions must be encrypted. They may be in any case, with the certificate in the metadata.
                         * @default false
                         */
                        encrypted?: boolean;
                        /**
                         * @description Whether people must show who they are although they have a session at the provider.
                         * @default false
                         */
                        forceSignIn?: boolean;
                        /**
                         * @description Whether the provider may sign people in without being asked. Such a sign-in is not bound to a browser: leave it off where you can.
                         * @default false
                         */
                        idpInitiated?: boolean;
                        /** @constant */
                        kind: "saml-metadata";
                        /** @description The metadata document (XML) of the provider: its entity id, addresses and certificates are read from it. */
                        metadata: string;
                        /**
                         * @description Kind of name asked for. A person is known by it: it must never be given to somebody else. `transient` names are refused.
                         * @default persistent
                         * @enum {string}
                         */
                        nameId?: "persistent" | "emailAddress" | "unspecified";
                        /**
                         * @description Authentication contexts by which the provider says that it asked for a second factor; HAL9 then asks for none.
                         * @default [
                         *       "https://refeds.org/profile/mfa",
                         *       "http://schemas.microsoft.com/claims/multipleauthn",
                         *       "urn:oasis:names:tc:SAML:2.0:ac:classes:MobileTwoFactorContract",
                         *       "urn:oasis:names:tc:SAML:2.0:ac:classes:TimeSyncToken"
                         *     ]
                         */
                        secondFactorContexts?: string[];
                        /** @description PEM certificate of it, published in the metadata. Made with the key. */
                        serviceCertificate?: string;
                        /** @description PEM RSA key that signs requests and opens encrypted assertions. Made when left out. */
                        serviceKey?: string;
                        /**
                         * @description What the provider must sign. Whatever carries a signature must carry a valid one.
                         * @default either
                         * @enum {string}
                         */
                        signed?: "either" | "assertion" | "response" | "both";
                        /**
                         * @description Whether an address in an assertion links to the user who has it here. Only for a provider that owns the addresses of its people.
                         * @default false
                         */
                        trustsEmail?: boolean;
                    } | {
                        /** @default {} */
                        attributes?: {
                            /** @default cn */
                            displayName?: string;
                            /** @default mail */
                            email?: string;
                            /**
                             * @description Never changes and is never given to somebody else.
                             * @default entryUUID
                             */
                            id?: string;
                            /** @default uid */
                            userName?: string;
                        };
                        /** @description Service account that searches for people, as DN or, in Active Directory, as user principal name. */
                        bindDn: string;
                        /** @description Password of the service account. */
                        bindPassword: string;
                        /** @description PEM certificates of the authority that signed the directory's. Default: the public authorities. */
                        ca?: string;
                        /**
                         * @description How the groups of a person are found: `search` asks for them level by level, `chain` lets Active Directory walk the nesting (LDAP_MATCHING_RULE_IN_CHAIN).
                         * @default {
                         *       "by": "none"
                         *     }
                         */
                        groups?: {
                            /** @constant */
                            by: "none";
                        } | {
                            /** @description Where groups are. */
                            base: string;
                            /** @constant */
                            by: "search";
                            /**
                             * @description Finds the groups that have `{dn}` as a member.
                             * @default (|(member={dn})(uniqueMember={dn}))
                             */
                            filter?: string;
                            /**
                             * @description Attribute whose value the role mapping knows the group by.
                             * @default cn
                             */
                            name?: string;
                            /**
                             * @description Whether groups in groups count, ten levels deep.
                             * @default true
                             */
                            nested?: boolean;
                        } | {
                            /** @description Where groups are. */
                            base: string;
                            /** @constant */
                            by: "chain";
                            /**
                             * @description Attribute whose value the role mapping knows the group by.
                             * @default cn
                             */
                            name?: string;
                        };
                        host: string;
                        /** @constant */
                        kind: "ldap";
                        /** @description Default: 636 with `implicit`, else 389. */
                        port?: number;
                        /**
                         * @description Longest wait for the connection, and for each answer.
                         * @default 10
                         */
                        timeoutSeconds?: number;
                        /**
                         * @description `starttls` is required, not merely offered; `implicit` is LDAPS; `none` sends passwords in the clear and is for this machine only.
                         * @default starttls
                         * @enum {string}
                         */
                        tls?: "starttls" | "implicit" | "none";
                        /**
                         * @description Whether the address in the directory links to the user who has it here.
                         * @default false
                         */
                        trustsEmail?: boolean;
                        /** @description Where people are, e.g. `ou=people,dc=example,dc=com`. */
                        userBase: string;
                        /**
                         * @description Finds the person; `{userName}` stands for what was typed, escaped.
                         * @default (&(objectClass=person)(uid={userName}))
                         */
                        userFilter?: string;
                    } | {
                        clientId: string;
                        /** @description Client secret of the application. */
                        clientSecret: string;
                        /**
                         * Format: uri
                         * @description `https://acme.okta.com`, or `https://acme.okta.com/oauth2/default` for a custom authorization server.
                         */
                        issuer: string;
                        /** @constant */
                        kind: "okta";
                    } | {
                        /** Format: uuid */
                        clientId: string;
                        /** @description Value (not id) of a client secret of the app registration. */
                        clientSecret: string;
                        /**
                         * @default global
                         * @enum {string}
                         */
                        cloud?: "global" | "us-government" | "china";
                        /**
                         * @description Claim the role mapping reads: `groups` (object ids, unless configured otherwise; not sent to members of more than 200) or `roles` (values of app roles).
                         * @default groups
                         * @enum {string}
                         */
                        groups?: "groups" | "roles";
                        /** @constant */
                        kind: "entra-id";
                        /** Format: uuid */
                        tenantId: string;
                    } | {
                        clientId: string;
                        /** @description Client secret. */
                        clientSecret: string;
                        /** @description Domains of the Workspace; anybody else with a Google account is refused. */
                        hostedDomains: string[];
                        /** @constant */
                        kind: "google";
                    } | {
                        /** @description Root of the domain, e.g. `dc=corp,dc=example,dc=com`, or the unit where people are. */
                        base: string;
                        /** @description Service account that searches for people, as DN or, in Active Directory, as user principal name. */
                        bindDn: string;
                        /** @description Password of the service account. */
                        bindPassword: string;
                        /** @description PEM certificates of the authority that signed the directory's. Default: the public authorities. */
                        ca?: string;
                        /** @description Where groups are. Default: `base`. */
                        groupBase?: string;
                        /** @description A domain controller, or the name of the domain. */
                        host: string;
                        /** @constant */
                        kind: "active-directory";
                        /** @description Default: 636 with `implicit`, else 389. */
                        port?: number;
                        /**
                         * @default implicit
                         * @enum {string}
                         */
                        tls?: "starttls" | "implicit";
                    };
                };
            };
        };
        responses: {
            /** @description The provider; `addresses` says what to enter there. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["IdentityProvider"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getIdentityProvider: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The provider, without its secrets. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["IdentityProvider"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    deleteIdentityProvider: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is gone. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    changeIdentityProvider: {
        parameters: {
            query?: {
                /** @description Whether the settings must pass a test before they are saved. */
                test?: "true" | "false";
            };
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    enabled?: boolean;
                    /** @description What people see on the button of the sign-in page. */
                    name?: string;
                    provisions?: boolean;
                    roleMapping?: {
                        /**
                         * @description Roles of everybody who signs in by the provider.
                         * @default []
                         */
                        default?: string[];
                        /**
                         * @description Roles by the provider's group.
                         * @default {}
                         */
                        groups?: {
                            [key: string]: string[];
                        };
                    };
                    /** @description The settings that change, in the terms of the kind (`oidc`, `ldap`, `saml`), not of the preset; the others stay. A change of where secrets are sent asks for the secrets again. */
                    settings?: {
                        [key: string]: unknown;
                    };
                    /** @description Refuse unless this is the version being changed. */
                    version?: number;
                };
            };
        };
        responses: {
            /** @description The provider at its next version. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["IdentityProvider"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listIdentityProviderDomains: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Claims, confirmed or not. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["DomainClaim"][];
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    claimIdentityProviderDomain: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description What stands behind the @ of people's addresses. */
                    domain: string;
                };
            };
        };
        responses: {
            /** @description The claim, not confirmed yet. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DomainClaim"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    releaseIdentityProviderDomain: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                domain: string;
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is gone. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    testIdentityProvider: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The provider; `state` and `lastFailure` say what the test found. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["IdentityProvider"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listIncidents: {
        parameters: {
            query?: {
                /** @description Most incidents. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Incidents. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Incident"][];
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listInvitations: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
                /** @description `true`: only those that can still be accepted. */
                open?: "true" | "false";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of invitations, without their links. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Invitation"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    createInvitation: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description Connection of kind smtp that carries the mail. Without one the link is in the answer, for you to pass on. */
                    connection?: string;
                    /**
                     * Format: email
                     * @description Whom to invite; becomes the address of the new user.
                     */
                    email?: string;
                    /** @default 7 */
                    expiresInDays?: number;
                    /**
                     * @description What the new user may.
                     * @default []
                     */
                    roles?: string[];
                    /**
                     * @description Teams the new user is a member of.
                     * @default []
                     */
                    teamIds?: string[];
                    /**
                     * Format: uuid
                     * @description A user without a password, who chooses one by accepting.
                     */
                    userId?: string;
                };
            };
        };
        responses: {
            /** @description The invitation. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CreatedInvitation"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getInvitation: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The invitation, without its link. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Invitation"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    revokeInvitation: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The revoked invitation. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Invitation"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    postMcpMessage: {
        parameters: {
            query?: never;
            header?: {
                /** @description The version that was agreed on at initialization. */
                "MCP-Protocol-Version"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    id?: string | number;
                    /** @constant */
                    jsonrpc: "2.0";
                    method?: string;
                    params?: {
                        [key: string]: unknown;
                    };
                } & {
                    [key: string]: unknown;
                };
            };
        };
        responses: {
            /** @description The answer to a request. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @constant */
                        jsonrpc: "2.0";
                    } & {
                        [key: string]: unknown;
                    };
                };
            };
            /** @description A notification was taken. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    rememberMemory: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["MemoryDraft"];
            };
        };
        responses: {
            /** @description The memory. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Memory"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getMemory: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The memory. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SealedMemory"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    forgetMemory: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is gone. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    recallMemories: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description `nextCursor` of the page before. */
                    cursor?: string;
                    /** @enum {string} */
                    kind?: "fact" | "outcome" | "evidence";
                    /**
                     * @description Most items of the page.
                     * @default 50
                     */
                    limit?: number;
                    /** @description `kind:value`, e.g. `email:ada@example.net` or `host:web-1`. Its key seals the memory, and an erasure of it destroys that key. Kept as a keyed hash. */
                    subject?: string;
                    /** @description Words that all occur in the content, whole and in any case. Memories that are about somebody are searched only where `subject` says about whom. */
                    text?: string;
                    /** @description What memories are recalled by, e.g. `restart`. */
                    topic?: string;
                };
            };
        };
        responses: {
            /** @description A page of memories, and the weight of all of them. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RecalledMemories"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listNeurons: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                enabled?: "true" | "false";
                kind?: "rules" | "detector" | "correlator" | "llm" | "http";
                layer?: "L2" | "L3" | "L4";
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of neurons. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Neuron"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    createNeuron: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    behaviour: {
                        /** @constant */
                        kind: "rules";
                        /**
                         * @default first
                         * @enum {string}
                         */
                        match?: "first" | "all";
                        rules: {
                            decide?: {
                                approval?: {
                                    allowRequester?: boolean;
                                    approvers?: {
                                        /** @default [] */
                                        roles?: string[];
                                        /** @default [] */
                                        teams?: string[];
                                        /** @default [] */
                                        users?: string[];
                                    };
                                    /** @default 86400 */
                                    deadlineSeconds?: number;
                                    escalation?: {
                                        afterSeconds: number;
                                        approvers?: {
                                            /** @default [] */
                                            roles?: string[];
                                            /** @default [] */
                                            teams?: string[];
                                            /** @default [] */
                                            users?: string[];
                                        };
                                        connection: string;
                                    };
                                    links?: boolean;
                                    /** @default approvals:write */
                                    permission?: string;
                                    /** @default 1 */
                                    required?: number;
                                };
                                /** @default 0 */
                                cooldownSeconds?: number;
                                key?: string;
                                notify?: {
                                    connection: string;
                                    message: string;
                                    title: string;
                                };
                                operation?: {
                                    input: string;
                                    type: string;
                                };
                                reason: string;
                                /**
                                 * @default info
                                 * @enum {string}
                                 */
                                severity?: "info" | "warning" | "critical";
                                summary: string;
                            };
                            delegate?: {
                                data?: string;
                                /** @enum {string} */
                                layer: "L2" | "L3";
                                subject?: string;
                                type: string;
                            };
                            emit?: {
                                correlationKey?: string;
                                data?: string;
                                /**
                                 * @default info
                                 * @enum {string}
                                 */
                                severity?: "info" | "warning" | "critical";
                                subject?: string;
                                type: string;
                            };
                            name?: string;
                            when: string;
                        }[];
                    } | {
                        above?: number;
                        /** @default true */
                        baseline?: boolean;
                        below?: number;
                        /**
                         * @default both
                         * @enum {string}
                         */
                        direction?: "both" | "up" | "down";
                        /**
                         * @default {
                         *       "type": "hal9.anomaly",
                         *       "severity": "warning"
                         *     }
                         */
                        emit?: {
                            correlationKey?: string;
                            data?: string;
                            /**
                             * @default info
                             * @enum {string}
                             */
                            severity?: "info" | "warning" | "critical";
                            subject?: string;
                            type: string;
                        };
                        /** @constant */
                        kind: "detector";
                        /** @default 0 */
                        minimumDeviation?: number;
                        /** @default 0 */
                        refractorySeconds?: number;
                        /**
                         * @default [
                         *       86400,
                         *       604800
                         *     ]
                         */
                        seasonsSeconds?: number[];
                        series?: string;
                        sustainedBy?: string;
                        /** @default 0 */
                        sustainGapSeconds?: number;
                        /** @default 0 */
                        sustainSeconds?: number;
                        /** @default 0.9998 */
                        threshold?: number;
                        /** @default signal.data.value */
                        value?: string;
                        /** @default 600 */
                        warmUp?: number;
                    } | {
                        activeSeconds?: number;
                        /** @default [] */
                        causes?: {
                            cause: string;
                            data?: string;
                            /** @default 1 */
                            weight?: number;
                            when: string;
                        }[];
                        /**
                         * @default layer
                         * @enum {string}
                         */
                        clock?: "layer" | "key";
                        /**
                         * @default {
                         *       "type": "hal9.incident",
                         *       "severity": "warning"
                         *     }
                         */
                        emit?: {
                            correlationKey?: string;
                            data?: string;
                            /**
                             * @default info
                             * @enum {string}
                             */
                            severity?: "info" | "warning" | "critical";
                            subject?: string;
                            type: string;
                        };
                        /** @default 30 */
                        gapSeconds?: number;
                        /** @default "all" */
                        key?: string;
                        /** @constant */
                        kind: "correlator";
                        /** @default 5 */
                        latenessSeconds?: number;
                        /** @default 3600 */
                        maxSeconds?: number;
                        member?: string;
                        /** @default 1 */
                        minMembers?: number;
                        /** @default 3 */
                        settleSeconds?: number;
                    } | {
                        answer: {
                            [key: string]: unknown;
                        };
                        connection: string;
                        /** @default [] */
                        fallback?: {
                            decide?: {
                                approval?: {
                                    allowRequester?: boolean;
                                    approvers?: {
                                        /** @default [] */
                                        roles?: string[];
                                        /** @default [] */
                                        teams?: string[];
                                        /** @default [] */
                                        users?: string[];
                                    };
                                    /** @default 86400 */
                                    deadlineSeconds?: number;
                                    escalation?: {
                                        afterSeconds: number;
                                        approvers?: {
                                            /** @default [] */
                                            roles?: string[];
                                            /** @default [] */
                                            teams?: string[];
                                            /** @default [] */
                                            users?: string[];
                                        };
                                        connection: string;
                                    };
                                    links?: boolean;
                                    /** @default approvals:write */
                                    permission?: string;
                                    /** @default 1 */
                                    required?: number;
                                };
                                /** @default 0 */
                                cooldownSeconds?: number;
                                key?: string;
                                notify?: {
                                    connection: string;
                                    message: string;
                                    title: string;
                                };
                                operation?: {
                                    input: string;
                                    type: string;
                                };
                                reason: string;
                                /**
                                 * @default info
                                 * @enum {string}
                                 */
                                severity?: "info" | "warning" | "critical";
                                summary: string;
                            };
                            delegate?: {
                                data?: string;
                                /** @enum {string} */
                                layer: "L2" | "L3";
                                subject?: string;
                                type: string;
                            };
                            emit?: {
                                correlationKey?: string;
                                data?: string;
                                /**
                                 * @default info
                                 * @enum {string}
                                 */
                                severity?: "info" | "warning" | "critical";
                                subject?: string;
                                type: string;
                            };
                            name?: string;
                            when: string;
                        }[];
                        /** @constant */
                        kind: "llm";
                        /** @default 1024 */
                        maxOutputTokens?: number;
                        model: string;
                        /** @default {} */
                        perCascade?: {
                            calls?: number;
                            tokens?: number;
                            usd?: number;
                        };
                        price: {
                            input: number;
                            output: number;
                        };
                        prompt: string;
                        recall?: {
                            /** @enum {string} */
                            kind?: "fact" | "outcome" | "evidence";
                            /** @default 10 */
                            limit?: number;
                            subject?: string;
                            /** @description What memories are recalled by, e.g. `restart`. */
                            topic: string;
                        };
                        rules: {
                            decide?: {
                                approval?: {
                                    allowRequester?: boolean;
                                    approvers?: {
                                        /** @default [] */
                                        roles?: string[];
                                        /** @default [] */
                                        teams?: string[];
                                        /** @default [] */
                                        users?: string[];
                                    };
                                    /** @default 86400 */
                                    deadlineSeconds?: number;
                                    escalation?: {
                                        afterSeconds: number;
                                        approvers?: {
                                            /** @default [] */
                                            roles?: string[];
                                            /** @default [] */
                                            teams?: string[];
                                            /** @default [] */
                                            users?: string[];
                                        };
                                        connection: string;
                                    };
                                    links?: boolean;
                                    /** @default approvals:write */
                                    permission?: string;
                                    /** @default 1 */
                                    required?: number;
                                };
                                /** @default 0 */
                                cooldownSeconds?: number;
                                key?: string;
                                notify?: {
                                    connection: string;
                                    message: string;
                                    title: string;
                                };
                                operation?: {
                                    input: string;
                                    type: string;
                                };
                                reason: string;
                                /**
                                 * @default info
                                 * @enum {string}
                                 */
                                severity?: "info" | "warning" | "critical";
                                summary: string;
                            };
                            delegate?: {
                                data?: string;
                                /** @enum {string} */
                                layer: "L2" | "L3";
                                subject?: string;
                                type: string;
                            };
                            emit?: {
                                correlationKey?: string;
                                data?: string;
                                /**
                                 * @default info
                                 * @enum {string}
                                 */
                                severity?: "info" | "warning" | "critical";
                                subject?: string;
                                type: string;
                            };
                            name?: string;
                            when: string;
                        }[];
                        system: string;
                        /** @default 60 */
                        timeoutSeconds?: number;
                    } | {
                        body?: string;
                        connection?: string;
                        /** @default [] */
                        fallback?: {
                            decide?: {
                                approval?: {
                                    allowRequester?: boolean;
                                    approvers?: {
                                        /** @default [] */
                                        roles?: string[];
                                        /** @default [] */
                                        teams?: string[];
                                        /** @default [] */
                                        users?: string[];
                                    };
                                    /** @default 86400 */
                                    deadlineSeconds?: number;
                                    escalation?: {
                                        afterSeconds: number;
                                        approvers?: {
                                            /** @default [] */
                                            roles?: string[];
                                            /** @default [] */
                                            teams?: string[];
                                            /** @default [] */
                                            users?: string[];
                                        };
                                        connection: string;
                                    };
                                    links?: boolean;
                                    /** @default approvals:write */
                                    permission?: string;
                                    /** @default 1 */
                                    required?: number;
                                };
                                /** @default 0 */
                                cooldownSeconds?: number;
                                key?: string;
                                notify?: {
                                    connection: string;
                                    message: string;
                                    title: string;
                                };
                                operation?: {
                                    input: string;
                                    type: string;
                                };
                                reason: string;
                                /**
                                 * @default info
                                 * @enum {string}
                                 */
                                severity?: "info" | "warning" | "critical";
                                summary: string;
                            };
                            delegate?: {
                                data?: string;
                                /** @enum {string} */
                                layer: "L2" | "L3";
                                subject?: string;
                                type: string;
                            };
                            emit?: {
                                correlationKey?: string;
                                data?: string;
                                /**
                                 * @default info
                                 * @enum {string}
                                 */
                                severity?: "info" | "warning" | "critical";
                                subject?: string;
                                type: string;
                            };
                            name?: string;
                            when: string;
                        }[];
                        /** @constant */
                        kind: "http";
                        /**
                         * @default POST
                         * @enum {string}
                         */
                        method?: "GET" | "POST" | "PUT";
                        recall?: {
                            /** @enum {string} */
                            kind?: "fact" | "outcome" | "evidence";
                            /** @default 10 */
                            limit?: number;
                            subject?: string;
                            /** @description What memories are recalled by, e.g. `restart`. */
                            topic: string;
                        };
                        rules: {
                            decide?: {
                                approval?: {
                                    allowRequester?: boolean;
                                    approvers?: {
                                        /** @default [] */
                                        roles?: string[];
                                        /** @default [] */
                                        teams?: string[];
                                        /** @default [] */
                                        users?: string[];
                                    };
                                    /** @default 86400 */
                                    deadlineSeconds?: number;
                                    escalation?: {
                                        afterSeconds: number;
                                        approvers?: {
                                            /** @default [] */
                                            roles?: string[];
                                            /** @default [] */
                                            teams?: string[];
                                            /** @default [] */
                                            users?: string[];
                                        };
                                        connection: string;
                                    };
                                    links?: boolean;
                                    /** @default approvals:write */
                                    permission?: string;
                                    /** @default 1 */
                                    required?: number;
                                };
                                /** @default 0 */
                                cooldownSeconds?: number;
                                key?: string;
                                notify?: {
                                    connection: string;
                                    message: string;
                                    title: string;
                                };
                                operation?: {
                                    input: string;
                                    type: string;
                                };
                                reason: string;
                                /**
                                 * @default info
                                 * @enum {string}
                                 */
                                severity?: "info" | "warning" | "critical";
                                summary: string;
                            };
                            delegate?: {
                                data?: string;
                                /** @enum {string} */
                                layer: "L2" | "L3";
                                subject?: string;
                                type: string;
                            };
                            emit?: {
                                correlationKey?: string;
                                data?: string;
                                /**
                                 * @default info
                                 * @enum {string}
                                 */
                                severity?: "info" | "warning" | "critical";
                                subject?: string;
                                type: string;
                            };
                            name?: string;
                            when: string;
                        }[];
                        /** @default 10 */
                        timeoutSeconds?: number;
                        /** Format: uri */
                        url: string;
                    };
                    /**
                     * @default {
                     *       "failures": 5,
                     *       "resetSeconds": 30
                     *     }
                     */
                    breaker?: {
                        /** @default 5 */
                        failures?: number;
                        /** @default 30 */
                        resetSeconds?: number;
                    };
                    /** @default  */
                    description?: string;
                    /** @default true */
                    enabled?: boolean;
                    /** @default 10 */
                    fanOut?: number;
                    /** @enum {string} */
                    layer: "L2" | "L3" | "L4";
                    name: string;
                    subscription: {
                        filter?: string;
                        sources?: string[];
                        types: string[];
                    };
                };
            };
        };
        responses: {
            /** @description The neuron. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Neuron"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getNeuron: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The neuron, and how its calls fare. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NeuronDetail"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    replaceNeuron: {
        parameters: {
            query?: never;
            header?: {
                /** @description Version that the change is made to, as the ETag or `version` of the resource says it; 412 if somebody changed it meanwhile. */
                "If-Match"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    behaviour: {
                        /** @constant */
                        kind: "rules";
                        /**
                         * @default first
                         * @enum {string}
                         */
                        match?: "first" | "all";
                        rules: {
                            decide?: {
                                approval?: {
                                    allowRequester?: boolean;
                                    approvers?: {
                                        /** @default [] */
                                        roles?: string[];
                                        /** @default [] */
                                        teams?: string[];
                                        /** @default [] */
                                        users?: string[];
                                    };
                                    /** @default 86400 */
                                    deadlineSeconds?: number;
                                    escalation?: {
                                        afterSeconds: number;
                                        approvers?: {
                                            /** @default [] */
                                            roles?: string[];
                                            /** @default [] */
                                            teams?: string[];
                                            /** @default [] */
                                            users?: string[];
                                        };
                                        connection: string;
                                    };
                                    links?: boolean;
                                    /** @default approvals:write */
                                    permission?: string;
                                    /** @default 1 */
                                    required?: number;
                                };
                                /** @default 0 */
                                cooldownSeconds?: number;
                                key?: string;
                                notify?: {
                                    connection: string;
                                    message: string;
                                    title: string;
                                };
                                operation?: {
                                    input: string;
                                    type: string;
                                };
                                reason: string;
                                /**
                                 * @default info
                                 * @enum {string}
                                 */
                                severity?: "info" | "warning" | "critical";
                                summary: string;
                            };
                            delegate?: {
                                data?: string;
                                /** @enum {string} */
                                layer: "L2" | "L3";
                                subject?: string;
                                type: string;
                            };
                            emit?: {
                                correlationKey?: string;
                                data?: string;
                                /**
                                 * @default info
                                 * @enum {string}
                                 */
                                severity?: "info" | "warning" | "critical";
                                subject?: string;
                                type: string;
                            };
                            name?: string;
                            when: string;
                        }[];
                    } | {
                        above?: number;
                        /** @default true */
                        baseline?: boolean;
                        below?: number;
                        /**
                         * @default both
                         * @enum {string}
                         */
                        direction?: "both" | "up" | "down";
                        /**
                         * @default {
                         *       "type": "hal9.anomaly",
                         *       "severity": "warning"
                         *     }
                         */
                        emit?: {
                            correlationKey?: string;
                            data?: string;
                            /**
                             * @default info
                             * @enum {string}
                             */
                            severity?: "info" | "warning" | "critical";
                            subject?: string;
                            type: string;
                        };
                        /** @constant */
                        kind: "detector";
                        /** @default 0 */
                        minimumDeviation?: number;
                        /** @default 0 */
                        refractorySeconds?: number;
                        /**
                         * @default [
                         *       86400,
                         *       604800
                         *     ]
                         */
                        seasonsSeconds?: number[];
                        series?: string;
                        sustainedBy?: string;
                        /** @default 0 */
                        sustainGapSeconds?: number;
                        /** @default 0 */
                        sustainSeconds?: number;
                        /** @default 0.9998 */
                        threshold?: number;
                        /** @default signal.data.value */
                        value?: string;
                        /** @default 600 */
                        warmUp?: number;
                    } | {
                        activeSeconds?: number;
                        /** @default [] */
                        causes?: {
                            cause: string;
                            data?: string;
                            /** @default 1 */
                            weight?: number;
                            when: string;
                        }[];
                        /**
                         * @default layer
                         * @enum {string}
                         */
                        clock?: "layer" | "key";
                        /**
                         * @default {
                         *       "type": "hal9.incident",
                         *       "severity": "warning"
                         *     }
                         */
                        emit?: {
                            correlationKey?: string;
                            data?: string;
                            /**
                             * @default info
                             * @enum {string}
                             */
                            severity?: "info" | "warning" | "critical";
                            subject?: string;
                            type: string;
                        };
                        /** @default 30 */
                        gapSeconds?: number;
                        /** @default "all" */
                        key?: string;
                        /** @constant */
                        kind: "correlator";
                        /** @default 5 */
                        latenessSeconds?: number;
                        /** @default 3600 */
                        maxSeconds?: number;
                        member?: string;
                        /** @default 1 */
                        minMembers?: number;
                        /** @default 3 */
                        settleSeconds?: number;
                    } | {
                        answer: {
                            [key: string]: unknown;
                        };
                        connection: string;
                        /** @default [] */
                        fallback?: {
                            decide?: {
                                approval?: {
                                    allowRequester?: boolean;
                                    approvers?: {
                                        /** @default [] */
                                        roles?: string[];
                                        /** @default [] */
                                        teams?: string[];
                                        /** @default [] */
                                        users?: string[];
                                    };
                                    /** @default 86400 */
                                    deadlineSeconds?: number;
                                    escalation?: {
                                        afterSeconds: number;
                                        approvers?: {
                                            /** @default [] */
                                            roles?: string[];
                                            /** @default [] */
                                            teams?: string[];
                                            /** @default [] */
                                            users?: string[];
                                        };
                                        connection: string;
                                    };
                                    links?: boolean;
                                    /** @default approvals:write */
                                    permission?: string;
                                    /** @default 1 */
                                    required?: number;
                                };
                                /** @default 0 */
                                cooldownSeconds?: number;
                                key?: string;
                                notify?: {
                                    connection: string;
                                    message: string;
                                    title: string;
                                };
                                operation?: {
                                    input: string;
                                    type: string;
                                };
                                reason: string;
                                /**
                                 * @default info
                                 * @enum {string}
                                 */
                                severity?: "info" | "warning" | "critical";
                                summary: string;
                            };
                            delegate?: {
                                data?: string;
                                /** @enum {string} */
                                layer: "L2" | "L3";
                                subject?: string;
                                type: string;
                            };
                            emit?: {
                                correlationKey?: string;
                                data?: string;
                                /**
                                 * @default info
                                 * @enum {string}
                                 */
                                severity?: "info" | "warning" | "critical";
                                subject?: string;
                                type: string;
                            };
                            name?: string;
                            when: string;
                        }[];
                        /** @constant */
                        kind: "llm";
                        /** @default 1024 */
                        maxOutputTokens?: number;
                        model: string;
                        /** @default {} */
                        perCascade?: {
                            calls?: number;
                            tokens?: number;
                            usd?: number;
                        };
                        price: {
                            input: number;
                            output: number;
                        };
                        prompt: string;
                        recall?: {
                            /** @enum {string} */
                            kind?: "fact" | "outcome" | "evidence";
                            /** @default 10 */
                            limit?: number;
                            subject?: string;
                            /** @description What memories are recalled by, e.g. `restart`. */
                            topic: string;
                        };
                        rules: {
                            decide?: {
                                approval?: {
                                    allowRequester?: boolean;
                                    approvers?: {
                                        /** @default [] */
                                        roles?: string[];
                                        /** @default [] */
                                        teams?: string[];
                                        /** @default [] */
                                        users?: string[];
                                    };
                                    /** @default 86400 */
                                    deadlineSeconds?: number;
                                    escalation?: {
                                        afterSeconds: number;
                                        approvers?: {
                                            /** @default [] */
                                            roles?: string[];
                                            /** @default [] */
                                            teams?: string[];
                                            /** @default [] */
                                            users?: string[];
                                        };
                                        connection: string;
                                    };
                                    links?: boolean;
                                    /** @default approvals:write */
                                    permission?: string;
                                    /** @default 1 */
                                    required?: number;
                                };
                                /** @default 0 */
                                cooldownSeconds?: number;
                                key?: string;
                                notify?: {
                                    connection: string;
                                    message: string;
                                    title: string;
                                };
                                operation?: {
                                    input: string;
                                    type: string;
                                };
                                reason: string;
                                /**
                                 * @default info
                                 * @enum {string}
                                 */
                                severity?: "info" | "warning" | "critical";
                                summary: string;
                            };
                            delegate?: {
                                data?: string;
                                /** @enum {string} */
                                layer: "L2" | "L3";
                                subject?: string;
                                type: string;
                            };
                            emit?: {
                                correlationKey?: string;
                                data?: string;
                                /**
                                 * @default info
                                 * @enum {string}
                                 */
                                severity?: "info" | "warning" | "critical";
                                subject?: string;
                                type: string;
                            };
                            name?: string;
                            when: string;
                        }[];
                        system: string;
                        /** @default 60 */
                        timeoutSeconds?: number;
                    } | {
                        body?: string;
                        connection?: string;
                        /** @default [] */
                        fallback?: {
                            decide?: {
                                approval?: {
                                    allowRequester?: boolean;
                                    approvers?: {
                                        /** @default [] */
                                        roles?: string[];
                                        /** @default [] */
                                        teams?: string[];
                                        /** @default [] */
                                        users?: string[];
                                    };
                                    /** @default 86400 */
                                    deadlineSeconds?: number;
                                    escalation?: {
                                        afterSeconds: number;
                                        approvers?: {
                                            /** @default [] */
                                            roles?: string[];
                                            /** @default [] */
                                            teams?: string[];
                                            /** @default [] */
                                            users?: string[];
                                        };
                                        connection: string;
                                    };
                                    links?: boolean;
                                    /** @default approvals:write */
                                    permission?: string;
                                    /** @default 1 */
                                    required?: number;
                                };
                                /** @default 0 */
                                cooldownSeconds?: number;
                                key?: string;
                                notify?: {
                                    connection: string;
                                    message: string;
                                    title: string;
                                };
                                operation?: {
                                    input: string;
                                    type: string;
                                };
                                reason: string;
                                /**
                                 * @default info
                                 * @enum {string}
                                 */
                                severity?: "info" | "warning" | "critical";
                                summary: string;
                            };
                            delegate?: {
                                data?: string;
                                /** @enum {string} */
                                layer: "L2" | "L3";
                                subject?: string;
                                type: string;
                            };
                            emit?: {
                                correlationKey?: string;
                                data?: string;
                                /**
                                 * @default info
                                 * @enum {string}
                                 */
                                severity?: "info" | "warning" | "critical";
                                subject?: string;
                                type: string;
                            };
                            name?: string;
                            when: string;
                        }[];
                        /** @constant */
                        kind: "http";
                        /**
                         * @default POST
                         * @enum {string}
                         */
                        method?: "GET" | "POST" | "PUT";
                        recall?: {
                            /** @enum {string} */
                            kind?: "fact" | "outcome" | "evidence";
                            /** @default 10 */
                            limit?: number;
                            subject?: string;
                            /** @description What memories are recalled by, e.g. `restart`. */
                            topic: string;
                        };
                        rules: {
                            decide?: {
                                approval?: {
                                    allowRequester?: boolean;
                                    approvers?: {
                                        /** @default [] */
                                        roles?: string[];
                                        /** @default [] */
                                        teams?: string[];
                                        /** @default [] */
                                        users?: string[];
                                    };
                                    /** @default 86400 */
                                    deadlineSeconds?: number;
                                    escalation?: {
                                        afterSeconds: number;
                                        approvers?: {
                                            /** @default [] */
                                            roles?: string[];
                                            /** @default [] */
                                            teams?: string[];
                                            /** @default [] */
                                            users?: string[];
                                        };
                                        connection: string;
                                    };
                                    links?: boolean;
                                    /** @default approvals:write */
                                    permission?: string;
                                    /** @default 1 */
                                    required?: number;
                                };
                                /** @default 0 */
                                cooldownSeconds?: number;
                                key?: string;
                                notify?: {
                                    connection: string;
                                    message: string;
                                    title: string;
                                };
                                operation?: {
                                    input: string;
                                    type: string;
                                };
                                reason: string;
                                /**
                                 * @default info
                                 * @enum {string}
                                 */
                                severity?: "info" | "warning" | "critical";
                                summary: string;
                            };
                            delegate?: {
                                data?: string;
                                /** @enum {string} */
                                layer: "L2" | "L3";
                                subject?: string;
                                type: string;
                            };
                            emit?: {
                                correlationKey?: string;
                                data?: string;
                                /**
                                 * @default info
                                 * @enum {string}
                                 */
                                severity?: "info" | "warning" | "critical";
                                subject?: string;
                                type: string;
                            };
                            name?: string;
                            when: string;
                        }[];
                        /** @default 10 */
                        timeoutSeconds?: number;
                        /** Format: uri */
                        url: string;
                    };
                    /**
                     * @default {
                     *       "failures": 5,
                     *       "resetSeconds": 30
                     *     }
                     */
                    breaker?: {
                        /** @default 5 */
                        failures?: number;
                        /** @default 30 */
                        resetSeconds?: number;
                    };
                    /** @default  */
                    description?: string;
                    /** @default true */
                    enabled?: boolean;
                    /** @default 10 */
                    fanOut?: number;
                    /** @enum {string} */
                    layer: "L2" | "L3" | "L4";
                    name: string;
                    subscription: {
                        filter?: string;
                        sources?: string[];
                        types: string[];
                    };
                };
            };
        };
        responses: {
            /** @description The neuron. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Neuron"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    changeNeuron: {
        parameters: {
            query?: never;
            header?: {
                /** @description Version that the change is made to, as the ETag or `version` of the resource says it; 412 if somebody changed it meanwhile. */
                "If-Match"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    [key: string]: unknown;
                };
            };
        };
        responses: {
            /** @description The neuron. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Neuron"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    disableNeuron: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The neuron. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Neuron"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    enableNeuron: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The neuron. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Neuron"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    testNeuron: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description For llm and http neurons: the answer to try their rules on. Without it the fallback rules run. */
                    answer?: unknown;
                    /** @description In order; a neuron with state sees them one after the other, from nothing. */
                    signals: ({
                        data?: unknown;
                        data_base64?: string;
                        datacontenttype?: string;
                        dataschema?: string;
                        hal9subject?: string;
                        id?: string;
                        partitionkey?: string;
                        /** @default test */
                        source?: string;
                        /**
                         * @default 1.0
                         * @constant
                         */
                        specversion?: "1.0";
                        subject?: string;
                        /** Format: date-time */
                        time?: string;
                        traceparent?: string;
                        type: string;
                    } & {
                        [key: string]: unknown;
                    })[];
                };
            };
        };
        responses: {
            /** @description What it would do. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NeuronTestResult"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listNeuronVersions: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Its versions. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: {
                            /** Format: date-time */
                            createdAt: string;
                            /** @description Id of the API key, or name of the process. */
                            createdBy: string;
                            neuron: {
                                behaviour: {
                                    /** @constant */
                                    kind: "rules";
                                    /**
                                     * @default first
                                     * @enum {string}
                                     */
                                    match: "first" | "all";
                                    rules: {
                                        decide?: {
                                            approval?: {
                                                allowRequester?: boolean;
                                                approvers?: {
                                                    /** @default [] */
                                                    roles: string[];
                                                    /** @default [] */
                                                    teams: string[];
                                                    /** @default [] */
                                                    users: string[];
                                                };
                                                /** @default 86400 */
                                                deadlineSeconds: number;
                                                escalation?: {
                                                    afterSeconds: number;
                                                    approvers?: {
                                                        /** @default [] */
                                                        roles: string[];
                                                        /** @default [] */
                                                        teams: string[];
                                                        /** @default [] */
                                                        users: string[];
                                                    };
                                                    connection: string;
                                                };
                                                links?: boolean;
                                                /** @default approvals:write */
                                                permission: string;
                                                /** @default 1 */
                                                required: number;
                                            };
                                            /** @default 0 */
                                            cooldownSeconds: number;
                                            key?: string;
                                            notify?: {
                                                connection: string;
                                                message: string;
                                                title: string;
                                            };
                                            operation?: {
                                                input: string;
                                                type: string;
                                            };
                                            reason: string;
                                            /**
                                             * @default info
                                             * @enum {string}
                                             */
                                            severity: "info" | "warning" | "critical";
                                            summary: string;
                                        };
                                        delegate?: {
                                            data?: string;
                                            /** @enum {string} */
                                            layer: "L2" | "L3";
                                            subject?: string;
                                            type: string;
                                        };
                                        emit?: {
                                            correlationKey?: string;
                                            data?: string;
                                            /**
                                             * @default info
                                             * @enum {string}
                                             */
                                            severity: "info" | "warning" | "critical";
                                            subject?: string;
                                            type: string;
                                        };
                                        name?: string;
                                        when: string;
                                    }[];
                                } | {
                                    above?: number;
                                    /** @default true */
                                    baseline: boolean;
                                    below?: number;
                                    /**
                                     * @default both
                                     * @enum {string}
                                     */
                                    direction: "both" | "up" | "down";
                                    /**
                                     * @default {
                                     *       "type": "hal9.anomaly",
                                     *       "severity": "warning"
                                     *     }
                                     */
                                    emit: {
                                        correlationKey?: string;
                                        data?: string;
                                        /**
                                         * @default info
                                         * @enum {string}
                                         */
                                        severity: "info" | "warning" | "critical";
                                        subject?: string;
                                        type: string;
                                    };
                                    /** @constant */
                                    kind: "detector";
                                    /** @default 0 */
                                    minimumDeviation: number;
                                    /** @default 0 */
                                    refractorySeconds: number;
                                    /**
                                     * @default [
                                     *       86400,
                                     *       604800
                                     *     ]
                                     */
                                    seasonsSeconds: number[];
                                    series?: string;
                                    sustainedBy?: string;
                                    /** @default 0 */
                                    sustainGapSeconds: number;
                                    /** @default 0 */
                                    sustainSeconds: number;
                                    /** @default 0.9998 */
                                    threshold: number;
                                    /** @default signal.data.value */
                                    value: string;
                                    /** @default 600 */
                                    warmUp: number;
                                } | {
                                    activeSeconds?: number;
                                    /** @default [] */
                                    causes: {
                                        cause: string;
                                        data?: string;
                                        /** @default 1 */
                                        weight: number;
                                        when: string;
                                    }[];
                                    /**
                                     * @default layer
                                     * @enum {string}
                                     */
                                    clock: "layer" | "key";
                                    /**
                                     * @default {
                                     *       "type": "hal9.incident",
                                     *       "severity": "warning"
                                     *     }
                                     */
                                    emit: {
                                        correlationKey?: string;
                                        data?: string;
                                        /**
                                         * @default info
                                         * @enum {string}
                                         */
                                        severity: "info" | "warning" | "critical";
                                        subject?: string;
                                        type: string;
                                    };
                                    /** @default 30 */
                                    gapSeconds: number;
                                    /** @default "all" */
                                    key: string;
                                    /** @constant */
                                    kind: "correlator";
                                    /** @default 5 */
                                    latenessSeconds: number;
                                    /** @default 3600 */
                                    maxSeconds: number;
                                    member?: string;
                                    /** @default 1 */
                                    minMembers: number;
                                    /** @default 3 */
                                    settleSeconds: number;
                                } | {
                                    answer: {
                                        [key: string]: unknown;
                                    };
                                    connection: string;
                                    /** @default [] */
                                    fallback: {
                                        decide?: {
                                            approval?: {
                                                allowRequester?: boolean;
                                                approvers?: {
                                                    /** @default [] */
                                                    roles: string[];
                                                    /** @default [] */
                                                    teams: string[];
                                                    /** @default [] */
                                                    users: string[];
                                                };
                                                /** @default 86400 */
                                                deadlineSeconds: number;
                                                escalation?: {
                                                    afterSeconds: number;
                                                    approvers?: {
                                                        /** @default [] */
                                                        roles: string[];
                                                        /** @default [] */
                                                        teams: string[];
                                                        /** @default [] */
                                                        users: string[];
                                                    };
                                                    connection: string;
                                                };
                                                links?: boolean;
                                                /** @default approvals:write */
                                                permission: string;
                                                /** @default 1 */
                                                required: number;
                                            };
                                            /** @default 0 */
                                            cooldownSeconds: number;
                                            key?: string;
                                            notify?: {
                                                connection: string;
                                                message: string;
                                                title: string;
                                            };
                                            operation?: {
                                                input: string;
                                                type: string;
                                            };
                                            reason: string;
                                            /**
                                             * @default info
                                             * @enum {string}
                                             */
                                            severity: "info" | "warning" | "critical";
                                            summary: string;
                                        };
                                        delegate?: {
                                            data?: string;
                                            /** @enum {string} */
                                            layer: "L2" | "L3";
                                            subject?: string;
                                            type: string;
                                        };
                                        emit?: {
                                            correlationKey?: string;
                                            data?: string;
                                            /**
                                             * @default info
                                             * @enum {string}
                                             */
                                            severity: "info" | "warning" | "critical";
                                            subject?: string;
                                            type: string;
                                        };
                                        name?: string;
                                        when: string;
                                    }[];
                                    /** @constant */
                                    kind: "llm";
                                    /** @default 1024 */
                                    maxOutputTokens: number;
                                    model: string;
                                    /** @default {} */
                                    perCascade: {
                                        calls?: number;
                                        tokens?: number;
                                        usd?: number;
                                    };
                                    price: {
                                        input: number;
                                        output: number;
                                    };
                                    prompt: string;
                                    recall?: {
                                        /** @enum {string} */
                                        kind?: "fact" | "outcome" | "evidence";
                                        /** @default 10 */
                                        limit: number;
                                        subject?: string;
                                        /** @description What memories are recalled by, e.g. `restart`. */
                                        topic: string;
                                    };
                                    rules: {
                                        decide?: {
                                            approval?: {
                                                allowRequester?: boolean;
                                                approvers?: {
                                                    /** @default [] */
                                                    roles: string[];
                                                    /** @default [] */
                                                    teams: string[];
                                                    /** @default [] */
                                                    users: string[];
                                                };
                                                /** @default 86400 */
                                                deadlineSeconds: number;
                                                escalation?: {
                                                    afterSeconds: number;
                                                    approvers?: {
                                                        /** @default [] */
                                                        roles: string[];
                                                        /** @default [] */
                                                        teams: string[];
                                                        /** @default [] */
                                                        users: string[];
                                                    };
                                                    connection: string;
                                                };
                                                links?: boolean;
                                                /** @default approvals:write */
                                                permission: string;
                                                /** @default 1 */
                                                required: number;
                                            };
                                            /** @default 0 */
                                            cooldownSeconds: number;
                                            key?: string;
                                            notify?: {
                                                connection: string;
                                                message: string;
                                                title: string;
                                            };
                                            operation?: {
                                                input: string;
                                                type: string;
                                            };
                                            reason: string;
                                            /**
                                             * @default info
                                             * @enum {string}
                                             */
                                            severity: "info" | "warning" | "critical";
                                            summary: string;
                                        };
                                        delegate?: {
                                            data?: string;
                                            /** @enum {string} */
                                            layer: "L2" | "L3";
                                            subject?: string;
                                            type: string;
                                        };
                                        emit?: {
                                            correlationKey?: string;
                                            data?: string;
                                            /**
                                             * @default info
                                             * @enum {string}
                                             */
                                            severity: "info" | "warning" | "critical";
                                            subject?: string;
                                            type: string;
                                        };
                                        name?: string;
                                        when: string;
                                    }[];
                                    system: string;
                                    /** @default 60 */
                                    timeoutSeconds: number;
                                } | {
                                    body?: string;
                                    connection?: string;
                                    /** @default [] */
                                    fallback: {
                                        decide?: {
                                            approval?: {
                                                allowRequester?: boolean;
                                                approvers?: {
                                                    /** @default [] */
                                                    roles: string[];
                                                    /** @default [] */
                                                    teams: string[];
                                                    /** @default [] */
                                                    users: string[];
                                                };
                                                /** @default 86400 */
                                                deadlineSeconds: number;
                                                escalation?: {
                                                    afterSeconds: number;
                                                    approvers?: {
                                                        /** @default [] */
                                                        roles: string[];
                                                        /** @default [] */
                                                        teams: string[];
                                                        /** @default [] */
                                                        users: string[];
                                                    };
                                                    connection: string;
                                                };
                                                links?: boolean;
                                                /** @default approvals:write */
                                                permission: string;
                                                /** @default 1 */
                                                required: number;
                                            };
                                            /** @default 0 */
                                            cooldownSeconds: number;
                                            key?: string;
                                            notify?: {
                                                connection: string;
                                                message: string;
                                                title: string;
                                            };
                                            operation?: {
                                                input: string;
                                                type: string;
                                            };
                                            reason: string;
                                            /**
                                             * @default info
                                             * @enum {string}
                                             */
                                            severity: "info" | "warning" | "critical";
                                            summary: string;
                                        };
                                        delegate?: {
                                            data?: string;
                                            /** @enum {string} */
                                            layer: "L2" | "L3";
                                            subject?: string;
                                            type: string;
                                        };
                                        emit?: {
                                            correlationKey?: string;
                                            data?: string;
                                            /**
                                             * @default info
                                             * @enum {string}
                                             */
                                            severity: "info" | "warning" | "critical";
                                            subject?: string;
                                            type: string;
                                        };
                                        name?: string;
                                        when: string;
                                    }[];
                                    /** @constant */
                                    kind: "http";
                                    /**
                                     * @default POST
                                     * @enum {string}
                                     */
                                    method: "GET" | "POST" | "PUT";
                                    recall?: {
                                        /** @enum {string} */
                                        kind?: "fact" | "outcome" | "evidence";
                                        /** @default 10 */
                                        limit: number;
                                        subject?: string;
                                        /** @description What memories are recalled by, e.g. `restart`. */
                                        topic: string;
                                    };
                                    rules: {
                                        decide?: {
                                            approval?: {
                                                allowRequester?: boolean;
                                                approvers?: {
                                                    /** @default [] */
                                                    roles: string[];
                                                    /** @default [] */
                                                    teams: string[];
                                                    /** @default [] */
                                                    users: string[];
                                                };
                                                /** @default 86400 */
                                                deadlineSeconds: number;
                                                escalation?: {
                                                    afterSeconds: number;
                                                    approvers?: {
                                                        /** @default [] */
                                                        roles: string[];
                                                        /** @default [] */
                                                        teams: string[];
                                                        /** @default [] */
                                                        users: string[];
                                                    };
                                                    connection: string;
                                                };
                                                links?: boolean;
                                                /** @default approvals:write */
                                                permission: string;
                                                /** @default 1 */
                                                required: number;
                                            };
                                            /** @default 0 */
                                            cooldownSeconds: number;
                                            key?: string;
                                            notify?: {
                                                connection: string;
                                                message: string;
                                                title: string;
                                            };
                                            operation?: {
                                                input: string;
                                                type: string;
                                            };
                                            reason: string;
                                            /**
                                             * @default info
                                             * @enum {string}
                                             */
                                            severity: "info" | "warning" | "critical";
                                            summary: string;
                                        };
                                        delegate?: {
                                            data?: string;
                                            /** @enum {string} */
                                            layer: "L2" | "L3";
                                            subject?: string;
                                            type: string;
                                        };
                                        emit?: {
                                            correlationKey?: string;
                                            data?: string;
                                            /**
                                             * @default info
                                             * @enum {string}
                                             */
                                            severity: "info" | "warning" | "critical";
                                            subject?: string;
                                            type: string;
                                        };
                                        name?: string;
                                        when: string;
                                    }[];
                                    /** @default 10 */
                                    timeoutSeconds: number;
                                    /** Format: uri */
                                    url: string;
                                };
                                /**
                                 * @default {
                                 *       "failures": 5,
                                 *       "resetSeconds": 30
                                 *     }
                                 */
                                breaker: {
                                    /** @default 5 */
                                    failures: number;
                                    /** @default 30 */
                                    resetSeconds: number;
                                };
                                /** @default  */
                                description: string;
                                /** @default true */
                                enabled: boolean;
                                /** @default 10 */
                                fanOut: number;
                                /** @enum {string} */
                                layer: "L2" | "L3" | "L4";
                                name: string;
                                subscription: {
                                    filter?: string;
                                    sources?: string[];
                                    types: string[];
                                };
                            };
                            version: number;
                        }[];
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    testNeuronDraft: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description For llm and http neurons: the answer to try their rules on. Without it the fallback rules run. */
                    answer?: unknown;
                    neuron: {
                        behaviour: {
                            /** @constant */
                            kind: "rules";
                            /**
                             * @default first
                             * @enum {string}
                             */
                            match?: "first" | "all";
                            rules: {
                                decide?: {
                                    approval?: {
                                        allowRequester?: boolean;
                                        approvers?: {
                                            /** @default [] */
                                            roles?: string[];
                                            /** @default [] */
                                            teams?: string[];
                                            /** @default [] */
                                            users?: string[];
                                        };
                                        /** @default 86400 */
                                        deadlineSeconds?: number;
                                        escalation?: {
                                            afterSeconds: number;
                                            approvers?: {
                                                /** @default [] */
                                                roles?: string[];
                                                /** @default [] */
                                                teams?: string[];
                                                /** @default [] */
                                                users?: string[];
                                            };
                                            connection: string;
                                        };
                                        links?: boolean;
                                        /** @default approvals:write */
                                        permission?: string;
                                        /** @default 1 */
                                        required?: number;
                                    };
                                    /** @default 0 */
                                    cooldownSeconds?: number;
                                    key?: string;
                                    notify?: {
                                        connection: string;
                                        message: string;
                                        title: string;
                                    };
                                    operation?: {
                                        input: string;
                                        type: string;
                                    };
                                    reason: string;
                                    /**
                                     * @default info
                                     * @enum {string}
                                     */
                                    severity?: "info" | "warning" | "critical";
                                    summary: string;
                                };
                                delegate?: {
                                    data?: string;
                                    /** @enum {string} */
                                    layer: "L2" | "L3";
                                    subject?: string;
                                    type: string;
                                };
                                emit?: {
                                    correlationKey?: string;
                                    data?: string;
                                    /**
                                     * @default info
                                     * @enum {string}
                                     */
                                    severity?: "info" | "warning" | "critical";
                                    subject?: string;
                                    type: string;
                                };
                                name?: string;
                                when: string;
                            }[];
                        } | {
                            above?: number;
                            /** @default true */
                            baseline?: boolean;
                            below?: number;
                            /**
                             * @default both
                             * @enum {string}
                             */
                            direction?: "both" | "up" | "down";
                            /**
                             * @default {
                             *       "type": "hal9.anomaly",
                             *       "severity": "warning"
                             *     }
                             */
                            emit?: {
                                correlationKey?: string;
                                data?: string;
                                /**
                                 * @default info
                                 * @enum {string}
                                 */
                                severity?: "info" | "warning" | "critical";
                                subject?: string;
                                type: string;
                            };
                            /** @constant */
                            kind: "detector";
                            /** @default 0 */
                            minimumDeviation?: number;
                            /** @default 0 */
                            refractorySeconds?: number;
                            /**
                             * @default [
                             *       86400,
                             *       604800
                             *     ]
                             */
                            seasonsSeconds?: number[];
                            series?: string;
                            sustainedBy?: string;
                            /** @default 0 */
                            sustainGapSeconds?: number;
                            /** @default 0 */
                            sustainSeconds?: number;
                            /** @default 0.9998 */
                            threshold?: number;
                            /** @default signal.data.value */
                            value?: string;
                            /** @default 600 */
                            warmUp?: number;
                        } | {
                            activeSeconds?: number;
                            /** @default [] */
                            causes?: {
                                cause: string;
                                data?: string;
                                /** @default 1 */
                                weight?: number;
                                when: string;
                            }[];
                            /**
                             * @default layer
                             * @enum {string}
                             */
                            clock?: "layer" | "key";
                            /**
                             * @default {
                             *       "type": "hal9.incident",
                             *       "severity": "warning"
                             *     }
                             */
                            emit?: {
                                correlationKey?: string;
                                data?: string;
                                /**
                                 * @default info
                                 * @enum {string}
                                 */
                                severity?: "info" | "warning" | "critical";
                                subject?: string;
                                type: string;
                            };
                            /** @default 30 */
                            gapSeconds?: number;
                            /** @default "all" */
                            key?: string;
                            /** @constant */
                            kind: "correlator";
                            /** @default 5 */
                            latenessSeconds?: number;
                            /** @default 3600 */
                            maxSeconds?: number;
                            member?: string;
                            /** @default 1 */
                            minMembers?: number;
                            /** @default 3 */
                            settleSeconds?: number;
                        } | {
                            answer: {
                                [key: string]: unknown;
                            };
                            connection: string;
                            /** @default [] */
                            fallback?: {
                                decide?: {
                                    approval?: {
                                        allowRequester?: boolean;
                                        approvers?: {
                                            /** @default [] */
                                            roles?: string[];
                                            /** @default [] */
                                            teams?: string[];
                                            /** @default [] */
                                            users?: string[];
                                        };
                                        /** @default 86400 */
                                        deadlineSeconds?: number;
                                        escalation?: {
                                            afterSeconds: number;
                                            approvers?: {
                                                /** @default [] */
                                                roles?: string[];
                                                /** @default [] */
                                                teams?: string[];
                                                /** @default [] */
                                                users?: string[];
                                            };
                                            connection: string;
                                        };
                                        links?: boolean;
                                        /** @default approvals:write */
                                        permission?: string;
                                        /** @default 1 */
                                        required?: number;
                                    };
                                    /** @default 0 */
                                    cooldownSeconds?: number;
                                    key?: string;
                                    notify?: {
                                        connection: string;
                                        message: string;
                                        title: string;
                                    };
                                    operation?: {
                                        input: string;
                                        type: string;
                                    };
                                    reason: string;
                                    /**
                                     * @default info
                                     * @enum {string}
                                     */
                                    severity?: "info" | "warning" | "critical";
                                    summary: string;
                                };
                                delegate?: {
                                    data?: string;
                                    /** @enum {string} */
                                    layer: "L2" | "L3";
                                    subject?: string;
                                    type: string;
                                };
                                emit?: {
                                    correlationKey?: string;
                                    data?: string;
                                    /**
                                     * @default info
                                     * @enum {string}
                                     */
                                    severity?: "info" | "warning" | "critical";
                                    subject?: string;
                                    type: string;
                                };
                                name?: string;
                                when: string;
                            }[];
                            /** @constant */
                            kind: "llm";
                            /** @default 1024 */
                            maxOutputTokens?: number;
                            model: string;
                            /** @default {} */
                            perCascade?: {
                                calls?: number;
                                tokens?: number;
                                usd?: number;
                            };
                            price: {
                                input: number;
                                output: number;
                            };
                            prompt: string;
                            recall?: {
                                /** @enum {string} */
                                kind?: "fact" | "outcome" | "evidence";
                                /** @default 10 */
                                limit?: number;
                                subject?: string;
                                /** @description What memories are recalled by, e.g. `restart`. */
                                topic: string;
                            };
                            rules: {
                                decide?: {
                                    approval?: {
                                        allowRequester?: boolean;
                                        approvers?: {
                                            /** @default [] */
                                            roles?: string[];
                                            /** @default [] */
                                            teams?: string[];
                                            /** @default [] */
                                            users?: string[];
                                        };
                                        /** @default 86400 */
                                        deadlineSeconds?: number;
                                        escalation?: {
                                            afterSeconds: number;
                                            approvers?: {
                                                /** @default [] */
                                                roles?: string[];
                                                /** @default [] */
                                                teams?: string[];
                                                /** @default [] */
                                                users?: string[];
                                            };
                                            connection: string;
                                        };
                                        links?: boolean;
                                        /** @default approvals:write */
                                        permission?: string;
                                        /** @default 1 */
                                        required?: number;
                                    };
                                    /** @default 0 */
                                    cooldownSeconds?: number;
                                    key?: string;
                                    notify?: {
                                        connection: string;
                                        message: string;
                                        title: string;
                                    };
                                    operation?: {
                                        input: string;
                                        type: string;
                                    };
                                    reason: string;
                                    /**
                                     * @default info
                                     * @enum {string}
                                     */
                                    severity?: "info" | "warning" | "critical";
                                    summary: string;
                                };
                                delegate?: {
                                    data?: string;
                                    /** @enum {string} */
                                    layer: "L2" | "L3";
                                    subject?: string;
                                    type: string;
                                };
                                emit?: {
                                    correlationKey?: string;
                                    data?: string;
                                    /**
                                     * @default info
                                     * @enum {string}
                                     */
                                    severity?: "info" | "warning" | "critical";
                                    subject?: string;
                                    type: string;
                                };
                                name?: string;
                                when: string;
                            }[];
                            system: string;
                            /** @default 60 */
                            timeoutSeconds?: number;
                        } | {
                            body?: string;
                            connection?: string;
                            /** @default [] */
                            fallback?: {
                                decide?: {
                                    approval?: {
                                        allowRequester?: boolean;
                                        approvers?: {
                                            /** @default [] */
                                            roles?: string[];
                                            /** @default [] */
                                            teams?: string[];
                                            /** @default [] */
                                            users?: string[];
                                        };
                                        /** @default 86400 */
                                        deadlineSeconds?: number;
                                        escalation?: {
                                            afterSeconds: number;
                                            approvers?: {
                                                /** @default [] */
                                                roles?: string[];
                                                /** @default [] */
                                                teams?: string[];
                                                /** @default [] */
                                                users?: string[];
                                            };
                                            connection: string;
                                        };
                                        links?: boolean;
                                        /** @default approvals:write */
                                        permission?: string;
                                        /** @default 1 */
                                        required?: number;
                                    };
                                    /** @default 0 */
                                    cooldownSeconds?: number;
                                    key?: string;
                                    notify?: {
                                        connection: string;
                                        message: string;
                                        title: string;
                                    };
                                    operation?: {
                                        input: string;
                                        type: string;
                                    };
                                    reason: string;
                                    /**
                                     * @default info
                                     * @enum {string}
                                     */
                                    severity?: "info" | "warning" | "critical";
                                    summary: string;
                                };
                                delegate?: {
                                    data?: string;
                                    /** @enum {string} */
                                    layer: "L2" | "L3";
                                    subject?: string;
                                    type: string;
                                };
                                emit?: {
                                    correlationKey?: string;
                                    data?: string;
                                    /**
                                     * @default info
                                     * @enum {string}
                                     */
                                    severity?: "info" | "warning" | "critical";
                                    subject?: string;
                                    type: string;
                                };
                                name?: string;
                                when: string;
                            }[];
                            /** @constant */
                            kind: "http";
                            /**
                             * @default POST
                             * @enum {string}
                             */
                            method?: "GET" | "POST" | "PUT";
                            recall?: {
                                /** @enum {string} */
                                kind?: "fact" | "outcome" | "evidence";
                                /** @default 10 */
                                limit?: number;
                                subject?: string;
                                /** @description What memories are recalled by, e.g. `restart`. */
                                topic: string;
                            };
                            rules: {
                                decide?: {
                                    approval?: {
                                        allowRequester?: boolean;
                                        approvers?: {
                                            /** @default [] */
                                            roles?: string[];
                                            /** @default [] */
                                            teams?: string[];
                                            /** @default [] */
                                            users?: string[];
                                        };
                                        /** @default 86400 */
                                        deadlineSeconds?: number;
                                        escalation?: {
                                            afterSeconds: number;
                                            approvers?: {
                                                /** @default [] */
                                                roles?: string[];
                                                /** @default [] */
                                                teams?: string[];
                                                /** @default [] */
                                                users?: string[];
                                            };
                                            connection: string;
                                        };
                                        links?: boolean;
                                        /** @default approvals:write */
                                        permission?: string;
                                        /** @default 1 */
                                        required?: number;
                                    };
                                    /** @default 0 */
                                    cooldownSeconds?: number;
                                    key?: string;
                                    notify?: {
                                        connection: string;
                                        message: string;
                                        title: string;
                                    };
                                    operation?: {
                                        input: string;
                                        type: string;
                                    };
                                    reason: string;
                                    /**
                                     * @default info
                                     * @enum {string}
                                     */
                                    severity?: "info" | "warning" | "critical";
                                    summary: string;
                                };
                                delegate?: {
                                    data?: string;
                                    /** @enum {string} */
                                    layer: "L2" | "L3";
                                    subject?: string;
                                    type: string;
                                };
                                emit?: {
                                    correlationKey?: string;
                                    data?: string;
                                    /**
                                     * @default info
                                     * @enum {string}
                                     */
                                    severity?: "info" | "warning" | "critical";
                                    subject?: string;
                                    type: string;
                                };
                                name?: string;
                                when: string;
                            }[];
                            /** @default 10 */
                            timeoutSeconds?: number;
                            /** Format: uri */
                            url: string;
                        };
                        /**
                         * @default {
                         *       "failures": 5,
                         *       "resetSeconds": 30
                         *     }
                         */
                        breaker?: {
                            /** @default 5 */
                            failures?: number;
                            /** @default 30 */
                            resetSeconds?: number;
                        };
                        /** @default  */
                        description?: string;
                        /** @default true */
                        enabled?: boolean;
                        /** @default 10 */
                        fanOut?: number;
                        /** @enum {string} */
                        layer: "L2" | "L3" | "L4";
                        name: string;
                        subscription: {
                            filter?: string;
                            sources?: string[];
                            types: string[];
                        };
                    };
                    /** @description In order; a neuron with state sees them one after the other, from nothing. */
                    signals: ({
                        data?: unknown;
                        data_base64?: string;
                        datacontenttype?: string;
                        dataschema?: string;
                        hal9subject?: string;
                        id?: string;
                        partitionkey?: string;
                        /** @default test */
                        source?: string;
                        /**
                         * @default 1.0
                         * @constant
                         */
                        specversion?: "1.0";
                        subject?: string;
                        /** Format: date-time */
                        time?: string;
                        traceparent?: string;
                        type: string;
                    } & {
                        [key: string]: unknown;
                    })[];
                };
            };
        };
        responses: {
            /** @description What it would do. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NeuronTestResult"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listNotifications: {
        parameters: {
            query?: {
                /** @description Only messages through this connection. */
                connectionId?: string;
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
                state?: "queued" | "sending" | "delivered" | "failed";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of deliveries, without the text of the messages. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Delivery"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listOrganisations: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of organisations. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Organisation"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    createOrganisation: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    name: string;
                    /** @description The organisation above. Default: the one you act in. Null makes one at the top, which only the organisation that runs the installation may. */
                    parentId?: string | null;
                    /** @description Default: that of the organisation above. */
                    region?: string;
                    /** @description Short name in sign-in addresses; unique in the installation. */
                    slug?: string;
                };
            };
        };
        responses: {
            /** @description The organisation. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Organisation"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getOrganisation: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The organisation. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Organisation"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    changeOrganisation: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    name?: string;
                    /** @description Where its data and sessions are meant to live, e.g. `eu-1`. */
                    region?: string;
                    slug?: string | null;
                };
            };
        };
        responses: {
            /** @description The organisation. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Organisation"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    confirmDomain: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                domain: string;
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The claim, confirmed. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DomainClaim"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    moveOrganisation: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description The organisation above from now on; null is the top. */
                    parentId: string | null;
                };
            };
        };
        responses: {
            /** @description The organisation. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Organisation"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    resumeOrganisation: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The organisation. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Organisation"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    suspendOrganisation: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The organisation. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Organisation"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listPlans: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description From least to most. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: {
                            limits: {
                                [key: string]: number | null;
                            };
                            /** @enum {string} */
                            plan: "free" | "starter" | "professional" | "enterprise";
                            quotas: {
                                [key: string]: {
                                    /** @description Of one calendar month (UTC). Null: none. */
                                    hard: number | null;
                                    /** @description Of one calendar month (UTC). Null: none. */
                                    soft: number | null;
                                };
                            };
                        }[];
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getOrganisationPlan: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                organisation: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The plan with what was agreed besides. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OrganisationPlan"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    setOrganisationPlan: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                organisation: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @default {} */
                    overrides?: {
                        limits?: {
                            [key: string]: number | null;
                        };
                        quotas?: {
                            [key: string]: {
                                hard?: number | null;
                                soft?: number | null;
                            };
                        };
                    };
                    /** @enum {string} */
                    plan: "free" | "starter" | "professional" | "enterprise";
                };
            };
        };
        responses: {
            /** @description The plan now. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OrganisationPlan"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listPlatformUsage: {
        parameters: {
            query?: {
                /** @description Default: the running month. */
                month?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What each used. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: {
                            /** Format: uuid */
                            organisation: string;
                            /** @enum {string} */
                            plan: "free" | "starter" | "professional" | "enterprise";
                            quantities: {
                                [key: string]: number;
                            };
                        }[];
                        /** @description `YYYY-MM`, UTC. */
                        month: string;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listPrivacyChanges: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Latest first; those of consents too. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["PrivacyChangeSummary"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    requestPrivacyChange: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description Consents change by POST /v1/consents. */
                    change: components["schemas"]["RectificationChange"] | components["schemas"]["RestrictionChange"];
                    /** @description By kind, as the annotations name them, e.g. `{"email": ["a@example.com"]}`. */
                    identities: {
                        [key: string]: string[];
                    };
                    /** @description How you made sure that the request is the person's own, and that the values are right. Without personal data. */
                    verification: string;
                };
            };
        };
        responses: {
            /** @description The change; its run goes on. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrivacyChangeSummary"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getPrivacyChange: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The change, with what it found and changed. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrivacyChange"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    resumePrivacyChange: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The change. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrivacyChangeSummary"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listErasures: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Latest first. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["ErasureSummary"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    requestErasure: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description By kind, as the annotations name them, e.g. `{"email": ["a@example.com"]}`. */
                    identities: {
                        [key: string]: string[];
                    };
                    /** @description How you made sure that the request is the person's own, e.g. `signed in, one-time code`. Without personal data. */
                    verification: string;
                };
            };
        };
        responses: {
            /** @description The erasure; its run goes on. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErasureSummary"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getErasure: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The erasure. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Erasure"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getErasureReceipt: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Signed, with a proof that the audit log holds it. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @description JWS in compact form; `hal9 privacy verify-receipt` checks it offline with the log key of GET /v1/audit/keys. */
                        receipt: string;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    resumeErasure: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The erasure. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErasureSummary"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listAccessExports: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Latest first. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["AccessExport"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    requestAccessExport: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description By kind, as the annotations name them, e.g. `{"email": ["a@example.com"]}`. */
                    identities: {
                        [key: string]: string[];
                    };
                    /**
                     * @description Days it can be fetched once it is ready.
                     * @default 14
                     */
                    keepDays?: number;
                    /** @description What the archive is encrypted to, in the format of age (https://age-encryption.org/v1). */
                    recipient: components["schemas"]["ExportRecipient"];
                    /** @description How you made sure that the request is the person's own. Without personal data. */
                    verification: string;
                };
            };
        };
        responses: {
            /** @description The export; its run goes on. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AccessExport"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getAccessExport: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The export. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AccessExport"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    linkAccessExport: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The link. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AccessExportLink"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    resumeAccessExport: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The export. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AccessExport"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listLegalHolds: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Latest first, released ones too. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["LegalHold"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    placeLegalHold: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description Whom it protects; only keyed hashes are kept. Without: everybody. */
                    identities?: {
                        [key: string]: string[];
                    };
                    /** @description Shown in receipts: name a case, not a person. */
                    reason: string;
                    source?: string;
                    /** @description Table of the source, as the annotations name it. Without: everything of the person. */
                    table?: string;
                    /** Format: date-time */
                    until?: string;
                };
            };
        };
        responses: {
            /** @description The hold. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LegalHold"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getLegalHold: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The hold. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LegalHold"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    releaseLegalHold: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The hold. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LegalHold"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getPrivacyPolicy: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The policy, or the defaults. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrivacyPolicy"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    setPrivacyPolicy: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PrivacyPolicy"];
            };
        };
        responses: {
            /** @description The policy. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrivacyPolicy"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listRetentionReports: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Latest first. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["RetentionReportSummary"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getRetentionReport: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The report, table by table. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RetentionReport"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listPrivacySources: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description By name, without credentials. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["PrivacySource"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    createPrivacySource: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description Of its kind: `postgres://user:password@host:port/database` with `?sslmode=disable`, `require` or `verify-full` (default), `rediss://user:password@host:port/0`, `s3://key:secret@host/bucket?region=eu-central-1`, `https://bearer:token@host/path`, `manual:where it is`. Never shown again. */
                    address: string;
                    /** @description YAML. PostgreSQL: HAL9's own format or a dataset of Fides, see the how-to on data maps; others: see the how-to on sources of data. */
                    annotations: string;
                    /**
                     * @default postgres
                     * @enum {string}
                     */
                    kind?: "postgres" | "redis" | "s3" | "http" | "manual";
                    name: string;
                };
            };
        };
        responses: {
            /** @description The source, without its credentials. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrivacySource"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getPrivacySource: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The source, without its credentials. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrivacySource"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    deletePrivacySource: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is gone from HAL9. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    changePrivacySource: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description Of its kind: `postgres://user:password@host:port/database` with `?sslmode=disable`, `require` or `verify-full` (default), `rediss://user:password@host:port/0`, `s3://key:secret@host/bucket?region=eu-central-1`, `https://bearer:token@host/path`, `manual:where it is`. Never shown again. */
                    address?: string;
                    /** @description YAML. PostgreSQL: HAL9's own format or a dataset of Fides, see the how-to on data maps; others: see the how-to on sources of data. */
                    annotations?: string;
                    /** @description The version it must have now. */
                    version?: number;
                };
            };
        };
        responses: {
            /** @description The source. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrivacySource"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listPrivacyTasks: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Latest first, done ones too; without who they are about. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["PrivacyTask"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getPrivacyTask: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The task, without who it is about. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrivacyTask"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    endPrivacyTask: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description What was done, or why not. Without personal data: it stays. */
                    note: string;
                    /** @enum {string} */
                    outcome: "done" | "refused";
                };
            };
        };
        responses: {
            /** @description The task; once it is done nobody knows any more who it was about. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrivacyTask"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    takePrivacyTask: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The task, now the caller's. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrivacyTaskTaken"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listRemediationActions: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Those on one machine. */
                hostId?: string;
                /** @description Those for one incident. */
                incidentId?: string;
                /** @description Most items of the page. */
                limit?: number;
                /** @description Those one run asked for. */
                runId?: string;
                state?: "started" | "done" | "failed" | "refused";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of actions. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["RemediationAction"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listRoleBindings: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
                /** @description Lower-case letters, digits and hyphens. */
                role?: string;
                teamId?: string;
                userId?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of bindings. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["RoleBinding"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    createRoleBinding: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @default {} */
                    conditions?: components["schemas"]["RoleConditions"];
                    /** @description Lower-case letters, digits and hyphens. */
                    role: string;
                    /** Format: uuid */
                    teamId?: string;
                    /** Format: uuid */
                    userId?: string;
                };
            };
        };
        responses: {
            /** @description The binding. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RoleBinding"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getRoleBinding: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The binding. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RoleBinding"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    replaceRoleBinding: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    conditions: components["schemas"]["RoleConditions"];
                };
            };
        };
        responses: {
            /** @description The binding. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RoleBinding"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    deleteRoleBinding: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Taken. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    listRoles: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description All roles. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Role"][];
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    createRole: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @default  */
                    description?: string;
                    /**
                     * @description Roles whose scopes this one has too.
                     * @default []
                     */
                    inherits?: string[];
                    /** @description Lower-case letters, digits and hyphens. */
                    name: string;
                    /**
                     * @description Whether who has it also has it in the organisations below. Only who has everything may say so.
                     * @default false
                     */
                    reachesDescendants?: boolean;
                    /** @default [] */
                    scopes?: string[];
                };
            };
        };
        responses: {
            /** @description The role. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Role"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getRole: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Lower-case letters, digits and hyphens. */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The role. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Role"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    replaceRole: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Lower-case letters, digits and hyphens. */
                name: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @default  */
                    description?: string;
                    /**
                     * @description Roles whose scopes this one has too.
                     * @default []
                     */
                    inherits?: string[];
                    /**
                     * @description Whether who has it also has it in the organisations below. Only who has everything may say so.
                     * @default false
                     */
                    reachesDescendants?: boolean;
                    /** @default [] */
                    scopes?: string[];
                };
            };
        };
        responses: {
            /** @description The role. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Role"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    deleteRole: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Lower-case letters, digits and hyphens. */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Gone. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    listRollouts: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of rollouts. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Rollout"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getRollout: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The rollout. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RolloutDetail"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listRolloutVerdicts: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
                outcome?: "pass" | "fail" | "inconclusive";
            };
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of verdicts. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["RolloutVerdict"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    importRollouts: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /**
                     * @description Connection of kind `kubernetes` to roll out in.
                     * @default production
                     */
                    cluster?: string;
                    /**
                     * @description New image by container, instead of the one in the documents or where they say none.
                     * @default {}
                     */
                    images?: {
                        [key: string]: string;
                    };
                    /**
                     * @description Connection of kind `http` of the Prometheus that the metrics come from.
                     * @default prometheus
                     */
                    prometheus?: string;
                    /** @description YAML of one or more documents: a `Rollout` of Argo or a `Canary` of Flagger, the templates of their analysis, and the Deployments they refer to. */
                    specs: string;
                };
            };
        };
        responses: {
            /** @description The inputs. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RolloutImport"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listRuns: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Part of the type of the failure. */
                failure?: string;
                /** @description Started at or after. */
                from?: string;
                /** @description Most runs of the page. */
                limit?: number;
                /** @description What started it, one or several with commas between: `api`, `decision`, `automation`, `schedule`, `dispatcher`. */
                origin?: string;
                /** @description `<kind>:<id>`, as runs say it. */
                startedBy?: string;
                status?: "running" | "completed" | "failed" | "cancelled" | "terminated" | "timed-out";
                tag?: string;
                /** @description Started before. */
                to?: string;
                /** @description Name of the operation. */
                type?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of runs. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Run"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getRun: {
        parameters: {
            query?: {
                /** @description Asks Temporal now, for what an open run waits for, its progress to the moment and its memo; otherwise the answer is that of the read model, usually some hundred milliseconds behind. */
                include?: "pending";
            };
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The run. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RunDetail"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    exportBrowserEvidence: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A ZIP archive. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/zip": unknown;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    handBackBrowser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It goes on. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    listBrowserHealings: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The steps. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: {
                            name: string | null;
                            /** @description Where the step stands in the flow. */
                            path: string;
                            /** @description The element, in the words of that way. */
                            target: string | null;
                            times: number;
                            verb: string;
                            /** @description Which of `or` found the element, from 1. */
                            way: number;
                        }[];
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    acceptBrowserHealings: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": {
                    /** @description Only of these steps; default all. */
                    paths?: string[];
                };
            };
        };
        responses: {
            /** @description The changed flow. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        accepted: string[];
                        /** @description The flow of the run, with these ways first. */
                        flow: {
                            [key: string]: unknown;
                        };
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listBrowserSteps: {
        parameters: {
            query?: {
                /** @description `seq` of the last step that is known. */
                after?: number;
                limit?: number;
            };
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The session and its steps. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: {
                            /** Format: date-time */
                            endedAt: string;
                            failure: string | null;
                            hasPicture: boolean;
                            /** @description Whether the page is there in words. */
                            hasSnapshot: boolean;
                            /** @description Names the execution of the step; one that was cut off and taken again has the same. */
                            key: string;
                            name: string | null;
                            /**
                             * @description `seen`: its guard showed that it had happened before a crash.
                             * @enum {string}
                             */
                            outcome: "done" | "skipped" | "seen" | "failed";
                            /** @description Where it stands in the flow. */
                            path: string;
                            seq: number;
                            /** Format: date-time */
                            startedAt: string;
                            /** @description The element, in the words of the flow. */
                            target: string | null;
                            troubles: {
                                /** @enum {string} */
                                kind: "console" | "network" | "dialog";
                                text: string;
                            }[];
                            url: string;
                            verb: string;
                            /** @description 0: found as the flow says; else which of `or`. */
                            way: number | null;
                        }[];
                        session: {
                            checkpointedAt: string | null;
                            closedAt: string | null;
                            /** Format: date-time */
                            createdAt: string;
                            flow: string | null;
                            /** @enum {string} */
                            state: "open" | "done" | "failed" | "cancelled";
                            /** @description Workers that took it up, the first included. */
                            takeUps: number;
                        };
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getBrowserPicture: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
                seq: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A JPEG. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "image/jpeg": unknown;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getBrowserSnapshot: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
                seq: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The tree, as YAML. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/yaml": unknown;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    takeOverBrowser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": {
                    /**
                     * @description From the moment on that the page is theirs.
                     * @default 3600
                     */
                    deadlineSeconds?: number;
                    /**
                     * @description When it is not given back by then: the run fails with HandOverRefused, or goes on with the page as it is.
                     * @default fail
                     * @enum {string}
                     */
                    late?: "fail" | "go-on";
                };
            };
        };
        responses: {
            /** @description The link. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** Format: date-time */
                        expiresAt: string;
                        /** Format: uuid */
                        id: string;
                        /** @description Credential of the routes below `/live`. */
                        token: string;
                        /** @description A page for people. */
                        url: string;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    takeBrowserTurn: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /**
                     * Format: uuid
                     * @description Names the turn: sent again, it is answered again and not taken again. Default: a new one.
                     */
                    id?: string;
                    /**
                     * @default {
                     *       "snapshot": false,
                     *       "picture": false
                     *     }
                     */
                    look?: {
                        /**
                         * @description A JPEG of what the window shows; needs the permission `codec:decode`.
                         * @default false
                         */
                        picture?: boolean;
                        /**
                         * @description Roles, names and texts of the page, as assistive technology has them.
                         * @default false
                         */
                        snapshot?: boolean;
                    };
                    /** @description A step of the flow language; without one the page is only looked at. */
                    step?: components["schemas"]["BrowserStep"];
                };
            };
        };
        responses: {
            /** @description What came of it. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @description Why the step could not be taken; the session goes on. */
                        failure: {
                            message: string;
                            type: string;
                        } | null;
                        /** Format: uuid */
                        id: string;
                        page: {
                            /** Format: base64 */
                            picture?: string;
                            snapshot?: string;
                            /** @description Open tabs. */
                            tabs: number;
                            title: string;
                            url: string;
                            /** @description What the step read. */
                            value?: unknown;
                        };
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    cancelRun: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The run has been asked. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @constant */
                        accepted: true;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getRunHistory: {
        parameters: {
            query?: {
                /** @description With inputs and results; needs the permission `codec:decode`. */
                payloads?: string;
            };
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The steps, in the order they began. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RunHistory"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    openLiveView: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The link. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** Format: date-time */
                        expiresAt: string;
                        /** Format: uuid */
                        id: string;
                        /** @description Credential of the routes below `/live`. */
                        token: string;
                        /** @description A page for people. */
                        url: string;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    pauseRun: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The run has taken it. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @description False when it was so already. */
                        changed: boolean;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    queryRun: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
                /** @description Name of the message, from the catalogue. */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": {
                    /** @description What the message takes; its schema is in the catalogue. */
                    payload?: unknown;
                };
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        answer: unknown;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getRunRecording: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The history. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RunRecording"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    replayRun: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": {
                    /**
                     * @description Only show what would be repeated.
                     * @default false
                     */
                    dryRun?: boolean;
                    /** @description `eventId` of the step to begin at, from the history; default the first that failed. */
                    fromEvent?: number;
                    /** @default replayed by an operator */
                    reason?: string;
                };
            };
        };
        responses: {
            /** @description What would be repeated. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Replay"];
                };
            };
            /** @description The run goes on from the step. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Replay"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getRunResult: {
        parameters: {
            query?: {
                /** @description How long to wait for an open run to end. */
                waitSeconds?: number;
            };
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The run has ended; `status` says how. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RunOutcome"];
                };
            };
            /** @description It has not ended yet. Ask again. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RunOutcome"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    resumeRun: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The run has taken it. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @description False when it was so already. */
                        changed: boolean;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    retryRun: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The run was there already, by the rule of its operation. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            /** @description The new run. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    signalRun: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
                /** @description Name of the message, from the catalogue. */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": {
                    /** @description What the message takes; its schema is in the catalogue. */
                    payload?: unknown;
                };
            };
        };
        responses: {
            /** @description Temporal has stored the signal; the run handles it in its order. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @constant */
                        accepted: true;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    streamRun: {
        parameters: {
            query?: never;
            header?: {
                /** @description The last event the client has; it gets those after. */
                "Last-Event-ID"?: string;
            };
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Events; `data` is one `RunEvent`. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": {
                        data: string;
                        event: string;
                        id: string;
                    };
                };
            };
            /** @description The run has ended and the client has seen it end. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    terminateRun: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description Kept in the run's history. */
                    reason: string;
                };
            };
        };
        responses: {
            /** @description The run has ended. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @constant */
                        accepted: true;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    traceRun: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The trace. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RunTrace"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    updateRun: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description `runId` as the start answered it. */
                id: string;
                /** @description Name of the message, from the catalogue. */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": {
                    /** @description What the message takes; its schema is in the catalogue. */
                    payload?: unknown;
                };
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        answer: unknown;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    actOnRuns: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @enum {string} */
                    action: "signal" | "cancel" | "terminate" | "pause" | "resume" | "retry" | "replay";
                    /**
                     * @description Runs acted on in a second, at the most.
                     * @default 10
                     */
                    perSecond?: number;
                    /** @description The runs, at most 10,000, that match now. */
                    query?: {
                        /** @description Type of the failure, in full. */
                        failure?: string;
                        /**
                         * Format: date-time
                         * @description Started at or after.
                         */
                        from?: string;
                        /** @enum {string} */
                        status?: "running" | "completed" | "failed" | "cancelled" | "terminated" | "timed-out";
                        tag?: string;
                        /**
                         * Format: date-time
                         * @description Started before.
                         */
                        to?: string;
                        type?: string;
                    };
                    /** @default bulk action */
                    reason?: string;
                    /** @description These runs. */
                    runIds?: string[];
                    /** @description Of `signal`. */
                    signal?: {
                        name: string;
                        payload?: unknown;
                    };
                };
            };
        };
        responses: {
            /** @description The runs are chosen. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BulkStarted"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getBulkAction: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The action. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BulkReport"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listBulkItems: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
                state?: "waiting" | "doing" | "done" | "failed" | "aborted";
            };
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of runs, in the order they are acted on. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["BulkItem"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listRunFailures: {
        parameters: {
            query?: {
                /** @description Ended at or after; default seven days ago. */
                from?: string;
                limit?: number;
                /** @description Ended before; default now. */
                to?: string;
                /** @description Name of the operation. */
                type?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The groups. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["FailureGroup"][];
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listSchedules: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of schedules. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Schedule"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    createSchedule: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    action: {
                        /**
                         * @description Its input, the same every time. For inputs that depend on the time, send a signal and let an automation with a `schedule` trigger map it.
                         * @default {}
                         */
                        input?: unknown;
                        /** @constant */
                        kind: "operation";
                        /** @description Name of the operation, as in GET /v1/workflows. */
                        operation: string;
                    } | {
                        /**
                         * @description Sent as it is, with `dueAt` added.
                         * @default {}
                         */
                        data?: {
                            [key: string]: unknown;
                        };
                        /** @constant */
                        kind: "signal";
                        subject?: string;
                        type: string;
                    };
                    /** @default [] */
                    calendars?: {
                        /** @description Default all. */
                        dayOfMonth?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description 0 is Sunday. Default all. */
                        dayOfWeek?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description Default 0. */
                        hour?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description Default 0. */
                        minute?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description Default all. */
                        month?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description Default 0. */
                        second?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description Default all. */
                        year?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                    }[];
                    /**
                     * @description How late a firing may come after an outage; what Temporal was away for is counted as missed, what the workers were away for is skipped with the reason.
                     * @default 3600
                     */
                    catchUpSeconds?: number;
                    /** @default [] */
                    cron?: string[];
                    /** @default  */
                    description?: string;
                    /** Format: date-time */
                    endAt?: string;
                    /**
                     * @description Every so often, counted from 1970-01-01T00:00:00Z plus the offset.
                     * @default []
                     */
                    intervals?: {
                        everySeconds: number;
                        /** @default 0 */
                        offsetSeconds?: number;
                    }[];
                    /**
                     * @description Each firing comes up to so much later, the same for the same time.
                     * @default 0
                     */
                    jitterSeconds?: number;
                    /** @description Fires so many times, then no more; by hand it still can. */
                    limit?: number;
                    name: string;
                    /**
                     * @description What happens when one is due while an earlier run is open.
                     * @default skip
                     * @enum {string}
                     */
                    overlap?: "skip" | "buffer-one" | "buffer-all" | "cancel-other" | "terminate-other" | "allow-all";
                    /**
                     * @description Whether a run that fails or times out pauses the schedule.
                     * @default false
                     */
                    pauseOnFailure?: boolean;
                    /**
                     * @description Times that match one of these are left out.
                     * @default []
                     */
                    skip?: {
                        /** @description Default all. */
                        dayOfMonth?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description 0 is Sunday. Default all. */
                        dayOfWeek?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description Default 0. */
                        hour?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description Default 0. */
                        minute?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description Default all. */
                        month?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description Default 0. */
                        second?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description Default all. */
                        year?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                    }[];
                    /** Format: date-time */
                    startAt?: string;
                    /**
                     * @description IANA name; cron and calendars mean its wall clock. A time that a change of clocks leaves out does not fire; one that comes twice fires once, the second time, as in Temporal.
                     * @default UTC
                     */
                    timeZone?: string;
                };
            };
        };
        responses: {
            /** @description The schedule. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ScheduleDetail"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getSchedule: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The schedule. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ScheduleDetail"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    replaceSchedule: {
        parameters: {
            query?: never;
            header?: {
                /** @description Version that the change is made to, as the ETag or `version` of the resource says it; 412 if somebody changed it meanwhile. */
                "If-Match"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    action: {
                        /**
                         * @description Its input, the same every time. For inputs that depend on the time, send a signal and let an automation with a `schedule` trigger map it.
                         * @default {}
                         */
                        input?: unknown;
                        /** @constant */
                        kind: "operation";
                        /** @description Name of the operation, as in GET /v1/workflows. */
                        operation: string;
                    } | {
                        /**
                         * @description Sent as it is, with `dueAt` added.
                         * @default {}
                         */
                        data?: {
                            [key: string]: unknown;
                        };
                        /** @constant */
                        kind: "signal";
                        subject?: string;
                        type: string;
                    };
                    /** @default [] */
                    calendars?: {
                        /** @description Default all. */
                        dayOfMonth?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description 0 is Sunday. Default all. */
                        dayOfWeek?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description Default 0. */
                        hour?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description Default 0. */
                        minute?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description Default all. */
                        month?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description Default 0. */
                        second?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description Default all. */
                        year?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                    }[];
                    /**
                     * @description How late a firing may come after an outage; what Temporal was away for is counted as missed, what the workers were away for is skipped with the reason.
                     * @default 3600
                     */
                    catchUpSeconds?: number;
                    /** @default [] */
                    cron?: string[];
                    /** @default  */
                    description?: string;
                    /** Format: date-time */
                    endAt?: string;
                    /**
                     * @description Every so often, counted from 1970-01-01T00:00:00Z plus the offset.
                     * @default []
                     */
                    intervals?: {
                        everySeconds: number;
                        /** @default 0 */
                        offsetSeconds?: number;
                    }[];
                    /**
                     * @description Each firing comes up to so much later, the same for the same time.
                     * @default 0
                     */
                    jitterSeconds?: number;
                    /** @description Fires so many times, then no more; by hand it still can. */
                    limit?: number;
                    name: string;
                    /**
                     * @description What happens when one is due while an earlier run is open.
                     * @default skip
                     * @enum {string}
                     */
                    overlap?: "skip" | "buffer-one" | "buffer-all" | "cancel-other" | "terminate-other" | "allow-all";
                    /**
                     * @description Whether a run that fails or times out pauses the schedule.
                     * @default false
                     */
                    pauseOnFailure?: boolean;
                    /**
                     * @description Times that match one of these are left out.
                     * @default []
                     */
                    skip?: {
                        /** @description Default all. */
                        dayOfMonth?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description 0 is Sunday. Default all. */
                        dayOfWeek?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description Default 0. */
                        hour?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description Default 0. */
                        minute?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description Default all. */
                        month?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description Default 0. */
                        second?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                        /** @description Default all. */
                        year?: (number | {
                            end: number;
                            start: number;
                            step?: number;
                        })[];
                    }[];
                    /** Format: date-time */
                    startAt?: string;
                    /**
                     * @description IANA name; cron and calendars mean its wall clock. A time that a change of clocks leaves out does not fire; one that comes twice fires once, the second time, as in Temporal.
                     * @default UTC
                     */
                    timeZone?: string;
                };
            };
        };
        responses: {
            /** @description The schedule. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ScheduleDetail"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    deleteSchedule: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is gone. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    backfillSchedule: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** Format: date-time */
                    from: string;
                    /**
                     * @description How its firings go together.
                     * @default buffer-all
                     * @enum {string}
                     */
                    overlap?: "skip" | "buffer-one" | "buffer-all" | "cancel-other" | "terminate-other" | "allow-all";
                    /** Format: date-time */
                    to: string;
                };
            };
        };
        responses: {
            /** @description It fires; see its firings. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    listScheduleFirings: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of firings. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["ScheduleFiring"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    pauseSchedule: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": {
                    /** @default  */
                    note?: string;
                };
            };
        };
        responses: {
            /** @description The schedule. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ScheduleDetail"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    triggerSchedule: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": {
                    /**
                     * @description Instead of the schedule's own.
                     * @enum {string}
                     */
                    overlap?: "skip" | "buffer-one" | "buffer-all" | "cancel-other" | "terminate-other" | "allow-all";
                };
            };
        };
        responses: {
            /** @description It fires; see its firings. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    unpauseSchedule: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The schedule. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ScheduleDetail"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getSession: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The session. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CurrentSession"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    signOut: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The session has ended; the cookie is gone. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    signOutAtProvider: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The session has ended; the cookie is gone. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ProviderLogout"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    changePassword: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    next: string;
                    present: string;
                };
            };
        };
        responses: {
            /** @description Changed. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    getProofs: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The factors. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FactorsOwed"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    proveAgain: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    code: string;
                    /** @constant */
                    kind: "totp";
                } | {
                    code: string;
                    /** @constant */
                    kind: "recovery";
                } | {
                    /** Format: uuid */
                    challengeId: string;
                    /** @constant */
                    kind: "webauthn";
                    response: {
                        /** @enum {string} */
                        authenticatorAttachment?: "cross-platform" | "platform";
                        clientExtensionResults: {
                            [key: string]: unknown;
                        };
                        id: string;
                        rawId: string;
                        response: {
                            authenticatorData: string;
                            clientDataJSON: string;
                            signature: string;
                            userHandle?: string;
                        } & {
                            [key: string]: unknown;
                        };
                        /** @constant */
                        type: "public-key";
                    } & {
                        [key: string]: unknown;
                    };
                } | {
                    /** @constant */
                    kind: "password";
                    password: string;
                };
            };
        };
        responses: {
            /** @description Proved; the session has a new token. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    listSessions: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description At most 100. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Session"][];
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    endOtherSessions: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description How many there were. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        ended: number;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    endSession: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It has ended. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    getSignInPolicy: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The policy. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SignInPolicy"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    putSignInPolicy: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SignInPolicyInput"];
            };
        };
        responses: {
            /** @description The policy. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SignInPolicy"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    requestPasswordReset: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    organisation: string;
                    /** @description User name or e-mail address. */
                    userName: string;
                };
            };
        };
        responses: {
            /** @description If somebody with a confirmed address is meant, they get a mail. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    openInvitation: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    token: string;
                };
            };
        };
        responses: {
            /** @description The invitation. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        email: string | null;
                        /** Format: date-time */
                        expiresAt: string;
                        organisation: string;
                        userName: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    acceptInvitation: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @default null */
                    displayName?: string | null;
                    password: string;
                    token: string;
                    userName: string;
                };
            };
        };
        responses: {
            /** @description Signed in, or a second factor is owed; the cookie is set. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SignInOutcome"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    signInByKey: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    key: string;
                    /** @description Path of this site for afterwards; anything else goes to the console. */
                    returnTo?: string;
                };
            };
        };
        responses: {
            /** @description Signed in, or a second factor is owed; the cookie is set. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SignInOutcome"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    findSignInOrganisation: {
        parameters: {
            query: {
                email: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Slug or id. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        organisation: string;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getSignInOffer: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                organisation: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Providers, and whether passwords work. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SignInOffer"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    signInByPasskey: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** Format: uuid */
                    challengeId: string;
                    /** @description Slug or id of the organisation. */
                    organisation: string;
                    response: {
                        /** @enum {string} */
                        authenticatorAttachment?: "cross-platform" | "platform";
                        clientExtensionResults: {
                            [key: string]: unknown;
                        };
                        id: string;
                        rawId: string;
                        response: {
                            authenticatorData: string;
                            clientDataJSON: string;
                            signature: string;
                            userHandle?: string;
                        } & {
                            [key: string]: unknown;
                        };
                        /** @constant */
                        type: "public-key";
                    } & {
                        [key: string]: unknown;
                    };
                    /** @description Path of this site for afterwards; anything else goes to the console. */
                    returnTo?: string;
                };
            };
        };
        responses: {
            /** @description Signed in, or a second factor is owed; the cookie is set. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SignInOutcome"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    beginPasskeySignIn: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description Slug or id of the organisation. */
                    organisation: string;
                };
            };
        };
        responses: {
            /** @description Options for `navigator.credentials.get`. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** Format: uuid */
                        challengeId: string;
                        options: {
                            [key: string]: unknown;
                        };
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    signInByPassword: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description Slug or id of the organisation. */
                    organisation: string;
                    password: string;
                    /** @description Path of this site for afterwards; anything else goes to the console. */
                    returnTo?: string;
                    userName: string;
                };
            };
        };
        responses: {
            /** @description Signed in, or a second factor is owed; the cookie is set. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SignInOutcome"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    resetPassword: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    password: string;
                    token: string;
                };
            };
        };
        responses: {
            /** @description Set; every session of the person has ended. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    getFactorsOwed: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The factors. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FactorsOwed"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    signInBySecondFactor: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    code: string;
                    /** @constant */
                    kind: "totp";
                } | {
                    code: string;
                    /** @constant */
                    kind: "recovery";
                } | {
                    /** Format: uuid */
                    challengeId: string;
                    /** @constant */
                    kind: "webauthn";
                    response: {
                        /** @enum {string} */
                        authenticatorAttachment?: "cross-platform" | "platform";
                        clientExtensionResults: {
                            [key: string]: unknown;
                        };
                        id: string;
                        rawId: string;
                        response: {
                            authenticatorData: string;
                            clientDataJSON: string;
                            signature: string;
                            userHandle?: string;
                        } & {
                            [key: string]: unknown;
                        };
                        /** @constant */
                        type: "public-key";
                    } & {
                        [key: string]: unknown;
                    };
                };
            };
        };
        responses: {
            /** @description Signed in, or a second factor is owed; the cookie is set. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SignInOutcome"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    finishFirstPasskey: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** Format: uuid */
                    challengeId: string;
                    /**
                     * @description What you call it.
                     * @default Passkey
                     */
                    name?: string;
                    response: {
                        /** @enum {string} */
                        authenticatorAttachment?: "cross-platform" | "platform";
                        clientExtensionResults: {
                            [key: string]: unknown;
                        };
                        id: string;
                        rawId: string;
                        response: {
                            attestationObject: string;
                            clientDataJSON: string;
                            transports?: ("ble" | "cable" | "hybrid" | "internal" | "nfc" | "smart-card" | "usb")[];
                        } & {
                            [key: string]: unknown;
                        };
                        /** @constant */
                        type: "public-key";
                    } & {
                        [key: string]: unknown;
                    };
                };
            };
        };
        responses: {
            /** @description Signed in, or a second factor is owed; the cookie is set. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SignInOutcome"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    beginFirstPasskey: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Options for `navigator.credentials.create`. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** Format: uuid */
                        challengeId: string;
                        options: {
                            [key: string]: unknown;
                        };
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    finishFirstTotp: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** Format: uuid */
                    challengeId: string;
                    code: string;
                    /**
                     * @description What you call it.
                     * @default Authenticator app
                     */
                    name?: string;
                };
            };
        };
        responses: {
            /** @description Signed in, or a second factor is owed; the cookie is set. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SignInOutcome"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    beginFirstTotp: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The secret, shown this once. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TotpEnrolment"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listSignals: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                from?: string;
                /** @description Most items of the page. */
                limit?: number;
                source?: string;
                to?: string;
                type?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of signals. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: {
                            batch: string | null;
                            chunk: number;
                            decidedAt: string | null;
                            /** Format: uuid */
                            id: string;
                            lane: number;
                            /** Format: date-time */
                            receivedAt: string;
                            signal: {
                                [key: string]: unknown;
                            };
                            /** @enum {string} */
                            state: "pending" | "decided" | "failed";
                        }[];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    sendSignals: {
        parameters: {
            query?: {
                timeoutMs?: number;
                wait?: "true" | "false";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/cloudevents-batch+json": ({
                    data?: unknown;
                    data_base64?: string;
                    datacontenttype?: string;
                    dataschema?: string;
                    hal9subject?: string;
                    id: string;
                    partitionkey?: string;
                    source: string;
                    /** @constant */
                    specversion: "1.0";
                    subject?: string;
                    /** Format: date-time */
                    time?: string;
                    traceparent?: string;
                    type: string;
                } & {
                    [key: string]: unknown;
                })[];
                "application/cloudevents+json": {
                    data?: unknown;
                    data_base64?: string;
                    datacontenttype?: string;
                    dataschema?: string;
                    hal9subject?: string;
                    id: string;
                    partitionkey?: string;
                    source: string;
                    /** @constant */
                    specversion: "1.0";
                    subject?: string;
                    /** Format: date-time */
                    time?: string;
                    traceparent?: string;
                    type: string;
                } & {
                    [key: string]: unknown;
                };
                "application/json": ({
                    data?: unknown;
                    data_base64?: string;
                    datacontenttype?: string;
                    dataschema?: string;
                    hal9subject?: string;
                    id: string;
                    partitionkey?: string;
                    source: string;
                    /**
                     * @default 1.0
                     * @constant
                     */
                    specversion?: "1.0";
                    subject?: string;
                    /** Format: date-time */
                    time?: string;
                    traceparent?: string;
                    type: string;
                } & {
                    [key: string]: unknown;
                }) | ({
                    data?: unknown;
                    data_base64?: string;
                    datacontenttype?: string;
                    dataschema?: string;
                    hal9subject?: string;
                    id: string;
                    partitionkey?: string;
                    source: string;
                    /**
                     * @default 1.0
                     * @constant
                     */
                    specversion?: "1.0";
                    subject?: string;
                    /** Format: date-time */
                    time?: string;
                    traceparent?: string;
                    type: string;
                } & {
                    [key: string]: unknown;
                })[];
                "application/x-ndjson": {
                    data?: unknown;
                    data_base64?: string;
                    datacontenttype?: string;
                    dataschema?: string;
                    hal9subject?: string;
                    id: string;
                    partitionkey?: string;
                    source: string;
                    /**
                     * @default 1.0
                     * @constant
                     */
                    specversion?: "1.0";
                    subject?: string;
                    /** Format: date-time */
                    time?: string;
                    traceparent?: string;
                    type: string;
                } & {
                    [key: string]: unknown;
                };
            };
        };
        responses: {
            /** @description The decision, with `wait=true`. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SignalDecision"];
                };
            };
            /** @description Committed. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        accepted: number;
                        duplicates: number;
                        ids: string[];
                        rejected: {
                            errors: {
                                message: string;
                                path: string;
                            }[];
                            line: number;
                        }[];
                        rejectedCount: number;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getSignal: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The signal. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        batch: string | null;
                        chunk: number;
                        decidedAt: string | null;
                        /** Format: uuid */
                        id: string;
                        lane: number;
                        /** Format: date-time */
                        receivedAt: string;
                        signal: {
                            [key: string]: unknown;
                        };
                        /** @enum {string} */
                        state: "pending" | "decided" | "failed";
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    traceSignal: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The trace. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Trace"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listSources: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of sources. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Source"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    createSource: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description Name of a connection of kind `amqp`. */
                    connection: string;
                    /** @description Where messages that are no signals are published as well, with the header `x-hal9-cause`, before they are acknowledged. */
                    deadLetter?: components["schemas"]["DeadLetterExchangeInput"];
                    /** @default  */
                    description?: string;
                    /** @default true */
                    enabled?: boolean;
                    /** @constant */
                    kind: "amqp";
                    /**
                     * @description For messages that are no CloudEvents; those say it themselves.
                     * @default {}
                     */
                    mapping?: components["schemas"]["SourceMappingInput"];
                    name: string;
                    /**
                     * @description Most messages that are taken in and not acknowledged.
                     * @default 500
                     */
                    prefetch?: number;
                    /** @description A queue that exists. HAL9 consumes it alone, so that order holds. */
                    queue: string;
                } | {
                    /** @description Name of a connection of kind `kafka`. */
                    connection: string;
                    /** @description Where records that are no signals are sent as well, with the header `x-hal9-cause`, before their offset is committed. */
                    deadLetter?: components["schemas"]["DeadLetterTopic"];
                    /** @default  */
                    description?: string;
                    /** @default true */
                    enabled?: boolean;
                    /**
                     * @description Where a group that has no offset begins.
                     * @default earliest
                     * @enum {string}
                     */
                    from?: "earliest" | "latest";
                    /** @description Consumer group whose offsets are used and moved. Default: one of its own, `hal9-` and the id of the source. */
                    group?: string;
                    /** @constant */
                    kind: "kafka";
                    /**
                     * @description For messages that are no CloudEvents; those say it themselves.
                     * @default {}
                     */
                    mapping?: components["schemas"]["SourceMappingInput"];
                    name: string;
                    /** @description Topics that exist. */
                    topics: string[];
                };
            };
        };
        responses: {
            /** @description The source. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Source"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getSource: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The source. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Source"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    replaceSource: {
        parameters: {
            query?: never;
            header?: {
                /** @description Version that the change is made to, as the ETag or `version` of the resource says it; 412 if somebody changed it meanwhile. */
                "If-Match"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description Name of a connection of kind `amqp`. */
                    connection: string;
                    /** @description Where messages that are no signals are published as well, with the header `x-hal9-cause`, before they are acknowledged. */
                    deadLetter?: components["schemas"]["DeadLetterExchangeInput"];
                    /** @default  */
                    description?: string;
                    /** @default true */
                    enabled?: boolean;
                    /** @constant */
                    kind: "amqp";
                    /**
                     * @description For messages that are no CloudEvents; those say it themselves.
                     * @default {}
                     */
                    mapping?: components["schemas"]["SourceMappingInput"];
                    name: string;
                    /**
                     * @description Most messages that are taken in and not acknowledged.
                     * @default 500
                     */
                    prefetch?: number;
                    /** @description A queue that exists. HAL9 consumes it alone, so that order holds. */
                    queue: string;
                } | {
                    /** @description Name of a connection of kind `kafka`. */
                    connection: string;
                    /** @description Where records that are no signals are sent as well, with the header `x-hal9-cause`, before their offset is committed. */
                    deadLetter?: components["schemas"]["DeadLetterTopic"];
                    /** @default  */
                    description?: string;
                    /** @default true */
                    enabled?: boolean;
                    /**
                     * @description Where a group that has no offset begins.
                     * @default earliest
                     * @enum {string}
                     */
                    from?: "earliest" | "latest";
                    /** @description Consumer group whose offsets are used and moved. Default: one of its own, `hal9-` and the id of the source. */
                    group?: string;
                    /** @constant */
                    kind: "kafka";
                    /**
                     * @description For messages that are no CloudEvents; those say it themselves.
                     * @default {}
                     */
                    mapping?: components["schemas"]["SourceMappingInput"];
                    name: string;
                    /** @description Topics that exist. */
                    topics: string[];
                };
            };
        };
        responses: {
            /** @description The source. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Source"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    deleteSource: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is gone. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    listSourceDeadLetters: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of dead letters, without their bodies. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["SourceDeadLetter"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    replaySourceDeadLetter: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
                letterId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is a signal now. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    listStatements: {
        parameters: {
            query?: {
                /** @description Only months before this one. */
                before?: string;
                /** @description Instead of the Accept header. */
                format?: "json" | "csv";
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The statements; as `text/csv` a line each meter and month. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Statement"][];
                    };
                    "text/csv": string;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getStatement: {
        parameters: {
            query?: {
                /** @description Instead of the Accept header. */
                format?: "json" | "csv";
            };
            header?: never;
            path: {
                /** @description `YYYY-MM`, UTC. */
                month: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The statement; `text/csv` by Accept or `format`. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Statement"];
                    "text/csv": string;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listTeams: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
                /** @description Only teams directly below this one. */
                parentId?: string;
                /** @description Only teams this user is a member of. */
                userId?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of teams. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Team"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    createTeam: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /**
                     * @description Toggles by feature. What a team does not say it has from the team above.
                     * @default {}
                     */
                    features?: {
                        [key: string]: boolean;
                    };
                    name: string;
                    /**
                     * @description The team above: members have what it has, too.
                     * @default null
                     */
                    parentId?: string | null;
                };
            };
        };
        responses: {
            /** @description The team. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Team"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getTeam: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The team. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Team"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    deleteTeam: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Gone. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    changeTeam: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description Toggles by feature. What a team does not say it has from the team above. */
                    features?: {
                        [key: string]: boolean;
                    };
                    name?: string;
                    parentId?: string | null;
                };
            };
        };
        responses: {
            /** @description The team. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Team"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listTeamMembers: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Ids of users. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TeamMembers"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    changeTeamMembers: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @default [] */
                    add?: string[];
                    /** @default [] */
                    remove?: string[];
                };
            };
        };
        responses: {
            /** @description Ids of users. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TeamMembers"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listTeamShares: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Resources of the team itself. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TeamShares"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    shareWithTeam: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
                /** @description Resource of a permission, e.g. `connections`. */
                kind: string;
                /** @description Its id as it stands in paths. */
                resourceId: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /**
                     * @description `write` includes `read`.
                     * @enum {string}
                     */
                    access: "read" | "write";
                };
            };
        };
        responses: {
            /** @description Resources of the team itself. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TeamShares"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    unshareWithTeam: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
                /** @description Resource of a permission, e.g. `connections`. */
                kind: string;
                /** @description Its id as it stands in paths. */
                resourceId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Taken. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    issueToken: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @default 600 */
                    expiresInSeconds?: number;
                    /** @description Space-separated part of the key's scopes; all of them, if left out. */
                    scope?: string;
                };
                "application/x-www-form-urlencoded": {
                    client_id?: string;
                    client_secret?: string;
                    /** @constant */
                    grant_type: "client_credentials";
                    scope?: string;
                };
            };
        };
        responses: {
            /** @description The token. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ServiceToken"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listUsage: {
        parameters: {
            query?: {
                /** @description Length of a step, UTC. */
                by?: "hour" | "day" | "month";
                /** @description Inclusive. Default: 30 days before `to`. */
                from?: string;
                /** @description One meter; default all. */
                meter?: "runs" | "signals" | "tokens" | "browser-seconds" | "storage-byte-hours" | "plugin-cpu-ms";
                /** @description Exclusive. Default: now. */
                to?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The series. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @enum {string} */
                        by: "hour" | "day" | "month";
                        /** Format: date-time */
                        from: string;
                        /** @description Oldest first; steps without use are left out. */
                        items: {
                            /** @enum {string} */
                            meter: "runs" | "signals" | "tokens" | "browser-seconds" | "storage-byte-hours" | "plugin-cpu-ms";
                            quantity: number;
                            /** Format: date-time */
                            start: string;
                        }[];
                        /** Format: date-time */
                        to: string;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getUsageSummary: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Used, projected, and the quotas. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UsageSummary"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listUsers: {
        parameters: {
            query?: {
                active?: "true" | "false";
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
                /** @description Beginning of the user name, the address or the display name. */
                search?: string;
                /** @description Only members of this team itself. */
                teamId?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of users. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["User"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    createUser: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    displayName?: string;
                    /** Format: email */
                    email?: string;
                    /** @description Id of the person in the system they come from. */
                    externalId?: string;
                    /** @description What they type to sign in; compared without case. */
                    userName: string;
                };
            };
        };
        responses: {
            /** @description The user. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["User"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The user. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["User"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    deleteUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Gone. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    changeUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    displayName?: string | null;
                    email?: string | null;
                    externalId?: string | null;
                    /** @description What they type to sign in; compared without case. */
                    userName?: string;
                };
            };
        };
        responses: {
            /** @description The user. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["User"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    activateUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The user. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["User"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    deactivateUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The user. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["User"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    removeUserFactors: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description They are gone; the next sign-in asks for none, or for a new one where it is required. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    impersonateUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description Why; stands in the audit log, so name a ticket and no person. */
                    reason: string;
                };
            };
        };
        responses: {
            /** @description The session; its cookie replaces yours. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Impersonation"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    createPasswordReset: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The link, shown this once. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** Format: date-time */
                        expiresAt: string;
                        /** @description Sets a new password, once, within an hour. */
                        link: string;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listUserSessions: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description At most 100. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Session"][];
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    endUserSessions: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description How many there were. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        ended: number;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listWebhookDeliveries: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
                status?: "accepted" | "duplicate" | "refused" | "failed";
                /** @description Of this inbound webhook alone. */
                webhook?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of deliveries. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["WebhookDelivery"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getWebhookDelivery: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The delivery, without its body. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WebhookDelivery"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    replayWebhookDelivery: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The delivery as it stands now. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WebhookDelivery"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listWebhookEndpoints: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of endpoints, without their secrets. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["WebhookEndpoint"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    createWebhookEndpoint: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @default true */
                    enabled?: boolean;
                    /** @description Exact types, `run.*`, `decision.*`, `approval.*`, or `*`. */
                    events: ("*" | ("run.*" | "decision.*" | "approval.*") | ("run.started" | "run.completed" | "run.failed" | "run.cancelled" | "run.terminated" | "run.timed-out" | "decision.made" | "decision.done" | "decision.refused" | "decision.failed" | "approval.requested" | "approval.approved" | "approval.refused" | "approval.expired" | "approval.cancelled"))[];
                    name: string;
                    /** @description Left out: HAL9 makes one. */
                    secret?: string;
                    /**
                     * Format: uri
                     * @description Where messages are sent. Private addresses are refused when connecting, redirects are not followed.
                     */
                    url: string;
                };
            };
        };
        responses: {
            /** @description The endpoint with its secret. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WebhookEndpointWithSecret"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getWebhookEndpoint: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The endpoint, and how its circuit stands. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WebhookEndpoint"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    changeWebhookEndpoint: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    enabled: boolean;
                    /** @description Exact types, `run.*`, `decision.*`, `approval.*`, or `*`. */
                    events: ("*" | ("run.*" | "decision.*" | "approval.*") | ("run.started" | "run.completed" | "run.failed" | "run.cancelled" | "run.terminated" | "run.timed-out" | "decision.made" | "decision.done" | "decision.refused" | "decision.failed" | "approval.requested" | "approval.approved" | "approval.refused" | "approval.expired" | "approval.cancelled"))[];
                    name: string;
                    /**
                     * Format: uri
                     * @description Where messages are sent. Private addresses are refused when connecting, redirects are not followed.
                     */
                    url: string;
                };
            };
        };
        responses: {
            /** @description The endpoint. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WebhookEndpoint"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    deleteWebhookEndpoint: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is gone. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    pingWebhookEndpoint: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The delivery to look at. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** Format: uuid */
                        delivery: string;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    rotateWebhookEndpointSecret: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": {
                    /**
                     * @description How long messages are signed with the old secret beside the new one.
                     * @default 86400
                     */
                    overlapSeconds?: number;
                    secret?: string;
                };
            };
        };
        responses: {
            /** @description The endpoint with its new secret. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WebhookEndpointWithSecret"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listWebhooks: {
        parameters: {
            query?: {
                /** @description `nextCursor` of the page before. */
                cursor?: string;
                /** @description Most items of the page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of webhooks, without their secrets. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Webhook"][];
                        nextCursor: string | null;
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    createWebhook: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @default true */
                    enabled?: boolean;
                    name: string;
                    /** @description The secret the provider shows, or one to tell it. Left out: HAL9 makes one. */
                    secret?: string;
                    settings: {
                        /** @constant */
                        preset: "standard";
                    } | {
                        /** @constant */
                        preset: "github";
                    } | {
                        /** @constant */
                        preset: "stripe";
                    } | {
                        /** @constant */
                        preset: "slack";
                    } | {
                        /** @constant */
                        preset: "meta";
                        /** @description Told to Meta; its GET handshake must repeat it. */
                        verifyToken: string;
                    } | {
                        /** @constant */
                        preset: "dropbox";
                    } | {
                        /**
                         * @default sha256
                         * @enum {string}
                         */
                        algorithm?: "sha256" | "sha1" | "sha512";
                        /**
                         * @default hex
                         * @enum {string}
                         */
                        encoding?: "hex" | "base64";
                        /** @description Header that holds the signature. */
                        header: string;
                        /** @description The sender's id of the delivery. Without one the same body counts once within the dedup window. */
                        idHeader?: string;
                        /**
                         * @description What stands before the signature in its header, e.g. `sha256=`.
                         * @default
                         */
                        prefix?: string;
                        /** @constant */
                        preset: "hmac";
                        /** @description Unix seconds; signed text is then `<timestamp>.<body>`, and must be at most five minutes old. */
                        timestampHeader?: string;
                        /**
                         * @description Type of the signals.
                         * @default webhook.received
                         */
                        type?: string;
                        /** @description Header that names the type instead. */
                        typeHeader?: string;
                    } | {
                        /** @constant */
                        preset: "alertmanager";
                    };
                };
            };
        };
        responses: {
            /** @description The webhook with its secret. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WebhookWithSecret"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getWebhook: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The webhook without its secrets. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Webhook"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    changeWebhook: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    enabled: boolean;
                    name: string;
                    settings: {
                        /** @constant */
                        preset: "standard";
                    } | {
                        /** @constant */
                        preset: "github";
                    } | {
                        /** @constant */
                        preset: "stripe";
                    } | {
                        /** @constant */
                        preset: "slack";
                    } | {
                        /** @constant */
                        preset: "meta";
                        /** @description Told to Meta; its GET handshake must repeat it. */
                        verifyToken: string;
                    } | {
                        /** @constant */
                        preset: "dropbox";
                    } | {
                        /**
                         * @default sha256
                         * @enum {string}
                         */
                        algorithm?: "sha256" | "sha1" | "sha512";
                        /**
                         * @default hex
                         * @enum {string}
                         */
                        encoding?: "hex" | "base64";
                        /** @description Header that holds the signature. */
                        header: string;
                        /** @description The sender's id of the delivery. Without one the same body counts once within the dedup window. */
                        idHeader?: string;
                        /**
                         * @description What stands before the signature in its header, e.g. `sha256=`.
                         * @default
                         */
                        prefix?: string;
                        /** @constant */
                        preset: "hmac";
                        /** @description Unix seconds; signed text is then `<timestamp>.<body>`, and must be at most five minutes old. */
                        timestampHeader?: string;
                        /**
                         * @description Type of the signals.
                         * @default webhook.received
                         */
                        type?: string;
                        /** @description Header that names the type instead. */
                        typeHeader?: string;
                    } | {
                        /** @constant */
                        preset: "alertmanager";
                    };
                };
            };
        };
        responses: {
            /** @description The webhook. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Webhook"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    deleteWebhook: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is gone, within a second in every process. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    rotateWebhookSecret: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": {
                    /**
                     * @description How long the old secret is accepted beside the new one.
                     * @default 86400
                     */
                    overlapSeconds?: number;
                    /** @description The secret the provider shows, or one to tell it. Left out: HAL9 makes one. */
                    secret?: string;
                };
            };
        };
        responses: {
            /** @description The webhook with its new secret. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WebhookWithSecret"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listWorkflows: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The catalogue. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        items: components["schemas"]["Workflow"][];
                    };
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getWorkflow: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of the operation. */
                type: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The operation. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Workflow"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    startRun: {
        parameters: {
            query?: never;
            header?: {
                /** @description The person the run is about, as `kind:value`, e.g. `email:ada@example.net`: a key of theirs encrypts it, and an erasure destroys that key. Only a keyed hash is kept. */
                "HAL9-Subject"?: string;
                /** @description Equal keys with equal bodies start one run; 1 to 255 printable ASCII characters without spaces. */
                "Idempotency-Key"?: string;
                /** @description `wait=<seconds>` waits for the end, 60 at most. */
                Prefer?: string;
            };
            path: {
                /** @description Name of the operation. */
                type: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description So many runs of the operation at once for the key, instead of the operation's own rule. */
                    concurrency?: {
                        /** @description Only its HMAC is kept. */
                        key: string;
                        /** @description Runs at once. */
                        limit: number;
                        /**
                         * @default queue
                         * @enum {string}
                         */
                        onConflict?: "queue" | "reject" | "cancel-running" | "cancel-newest";
                    };
                    /** @description Time before the run begins. */
                    delaySeconds?: number;
                    /** @description What the operation takes; its schema is in the catalogue. */
                    input?: unknown;
                    /** @description Remarks for people, kept encrypted and shown with the run. */
                    memo?: {
                        [key: string]: string;
                    };
                    /** @description 1 is served first, 5 last; default 3. Organisations of one priority take turns. */
                    priority?: number;
                    /** @description Labels to find the run by. No personal data. */
                    tags?: string[];
                    /** @description Time the run may take; default and most: what its operation allows. */
                    timeoutSeconds?: number;
                };
            };
        };
        responses: {
            /** @description The run was there already. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            /** @description The run was started. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    startAnchor: {
        parameters: {
            query?: never;
            header?: {
                /** @description The person the run is about, as `kind:value`, e.g. `email:ada@example.net`: a key of theirs encrypts it, and an erasure destroys that key. Only a keyed hash is kept. */
                "HAL9-Subject"?: string;
                /** @description Equal keys with equal bodies start one run; 1 to 255 printable ASCII characters without spaces. */
                "Idempotency-Key"?: string;
                /** @description `wait=<seconds>` waits for the end, 60 at most. */
                Prefer?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    delaySeconds?: number;
                    input: {
                        /**
                         * Format: uuid
                         * @description Of `GET /v1/anchor-streams`.
                         */
                        stream: string;
                    };
                    tags?: string[];
                };
            };
        };
        responses: {
            /** @description The run was there already. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            /** @description The run was started. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    startBrowserSession: {
        parameters: {
            query?: never;
            header?: {
                /** @description The person the run is about, as `kind:value`, e.g. `email:ada@example.net`: a key of theirs encrypts it, and an erasure destroys that key. Only a keyed hash is kept. */
                "HAL9-Subject"?: string;
                /** @description Equal keys with equal bodies start one run; 1 to 255 printable ASCII characters without spaces. */
                "Idempotency-Key"?: string;
                /** @description `wait=<seconds>` waits for the end, 60 at most. */
                Prefer?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    delaySeconds?: number;
                    input: {
                        /** @description Connection that carries the question when a person must take over; default the one named `approvals`. */
                        connection?: string;
                        /**
                         * @description Without a step for so long the session ends.
                         * @default 30
                         */
                        idleMinutes?: number;
                        /** @default {} */
                        settings?: components["schemas"]["BrowserSessionSettings"];
                    };
                    tags?: string[];
                };
            };
        };
        responses: {
            /** @description The run was there already. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            /** @description The run was started. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    startBrowser: {
        parameters: {
            query?: never;
            header?: {
                /** @description The person the run is about, as `kind:value`, e.g. `email:ada@example.net`: a key of theirs encrypts it, and an erasure destroys that key. Only a keyed hash is kept. */
                "HAL9-Subject"?: string;
                /** @description Equal keys with equal bodies start one run; 1 to 255 printable ASCII characters without spaces. */
                "Idempotency-Key"?: string;
                /** @description `wait=<seconds>` waits for the end, 60 at most. */
                Prefer?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    delaySeconds?: number;
                    input: {
                        /** @description Connection that carries the question when a person must take over; default the one named `approvals`. */
                        connection?: string;
                        flow: components["schemas"]["BrowserFlow"];
                        /**
                         * @description What expressions see as `input`.
                         * @default {}
                         */
                        input?: {
                            [key: string]: unknown;
                        };
                    };
                    tags?: string[];
                };
            };
        };
        responses: {
            /** @description The run was there already. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            /** @description The run was started. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    startChainNetwork: {
        parameters: {
            query?: never;
            header?: {
                /** @description The person the run is about, as `kind:value`, e.g. `email:ada@example.net`: a key of theirs encrypts it, and an erasure destroys that key. Only a keyed hash is kept. */
                "HAL9-Subject"?: string;
                /** @description Equal keys with equal bodies start one run; 1 to 255 printable ASCII characters without spaces. */
                "Idempotency-Key"?: string;
                /** @description `wait=<seconds>` waits for the end, 60 at most. */
                Prefer?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    delaySeconds?: number;
                    input: {
                        /**
                         * @description First part of the token, 10^-18 HAL9; the rest is emitted to stakers.
                         * @default 200000000000000000000000000
                         */
                        genesis?: string;
                        /**
                         * @description Whether the deployer gives its admin roles to the timelock. Pausing stays with the deployer.
                         * @default true
                         */
                        handOver?: boolean;
                        /**
                         * @description Least bond of a neuron, 10^-18 HAL9.
                         * @default 1000000000000000000000
                         */
                        minBond?: string;
                        name: string;
                        /**
                         * @description Votes needed to propose, 10^-18 HAL9.
                         * @default 100000000000000000000000
                         */
                        proposalThreshold?: string;
                        /** @default 4 */
                        quorumPercent?: number;
                        /**
                         * Format: uuid
                         * @description Deploys, pays for it, and gets the first part of the token.
                         */
                        signer: string;
                        /**
                         * @description From a decision to its execution.
                         * @default 172800
                         */
                        timelockSeconds?: number;
                        /**
                         * @description From a proposal to its snapshot.
                         * @default 86400
                         */
                        voteDelaySeconds?: number;
                        /** @default 604800 */
                        votePeriodSeconds?: number;
                    };
                    tags?: string[];
                };
            };
        };
        responses: {
            /** @description The run was there already. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            /** @description The run was started. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    startComplianceEvidence: {
        parameters: {
            query?: never;
            header?: {
                /** @description The person the run is about, as `kind:value`, e.g. `email:ada@example.net`: a key of theirs encrypts it, and an erasure destroys that key. Only a keyed hash is kept. */
                "HAL9-Subject"?: string;
                /** @description Equal keys with equal bodies start one run; 1 to 255 printable ASCII characters without spaces. */
                "Idempotency-Key"?: string;
                /** @description `wait=<seconds>` waits for the end, 60 at most. */
                Prefer?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    delaySeconds?: number;
                    input: {
                        controls?: string[];
                    };
                    tags?: string[];
                };
            };
        };
        responses: {
            /** @description The run was there already. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            /** @description The run was started. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    startConsensus: {
        parameters: {
            query?: never;
            header?: {
                /** @description The person the run is about, as `kind:value`, e.g. `email:ada@example.net`: a key of theirs encrypts it, and an erasure destroys that key. Only a keyed hash is kept. */
                "HAL9-Subject"?: string;
                /** @description Equal keys with equal bodies start one run; 1 to 255 printable ASCII characters without spaces. */
                "Idempotency-Key"?: string;
                /** @description `wait=<seconds>` waits for the end, 60 at most. */
                Prefer?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    delaySeconds?: number;
                    input: {
                        /** @default 600 */
                        challengeSeconds?: number;
                        /** @default 300 */
                        commitSeconds?: number;
                        dispute?: {
                            /** @description Computes the result as well; a tally with another one, or none, is challenged. */
                            challenger: {
                                /**
                                 * Format: uuid
                                 * @description What computes the result: the data of the one thing it emits for the question.
                                 */
                                neuron: string;
                                /**
                                 * Format: uuid
                                 * @description Whose key votes; its address must be registered with a bond.
                                 */
                                signer: string;
                            };
                            /** @description Neurons that vote in disputes, in their order: each round takes twice as many as it had and one more. */
                            voters: {
                                /**
                                 * Format: uuid
                                 * @description What computes the result: the data of the one thing it emits for the question.
                                 */
                                neuron: string;
                                /**
                                 * Format: uuid
                                 * @description Whose key votes; its address must be registered with a bond.
                                 */
                                signer: string;
                            }[];
                        };
                        /**
                         * @description Least number of revealed results.
                         * @default 3
                         */
                        minNeurons?: number;
                        /**
                         * @description `on-chain`: neurons commit and reveal. `off-chain`: they sign, and one transaction reports a round.
                         * @default on-chain
                         * @enum {string}
                         */
                        mode?: "on-chain" | "off-chain";
                        /**
                         * Format: uuid
                         * @description Of `GET /v1/chain-networks`.
                         */
                        network: string;
                        /** @description Put in escrow, 10^-18 HAL9. */
                        payment: string;
                        /** @description A signal that neurons see; nobody else does. */
                        question: {
                            data?: unknown;
                            subject?: string;
                            type: string;
                        };
                        /**
                         * Format: uuid
                         * @description Signer who asks and pays.
                         */
                        requester: string;
                        /** @default 300 */
                        revealSeconds?: number;
                        /**
                         * @description Part of the revealed results that must agree.
                         * @default 0.66
                         */
                        share?: number;
                        /** @description Neurons of this organisation that vote. On-chain others may vote besides. */
                        voters: {
                            /**
                             * Format: uuid
                             * @description What computes the result: the data of the one thing it emits for the question.
                             */
                            neuron: string;
                            /**
                             * Format: uuid
                             * @description Whose key votes; its address must be registered with a bond.
                             */
                            signer: string;
                        }[];
                    };
                    tags?: string[];
                };
            };
        };
        responses: {
            /** @description The run was there already. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            /** @description The run was started. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    startDrill: {
        parameters: {
            query?: never;
            header?: {
                /** @description The person the run is about, as `kind:value`, e.g. `email:ada@example.net`: a key of theirs encrypts it, and an erasure destroys that key. Only a keyed hash is kept. */
                "HAL9-Subject"?: string;
                /** @description Equal keys with equal bodies start one run; 1 to 255 printable ASCII characters without spaces. */
                "Idempotency-Key"?: string;
                /** @description `wait=<seconds>` waits for the end, 60 at most. */
                Prefer?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    delaySeconds?: number;
                    input: {
                        /**
                         * Format: date-time
                         * @description Moment to go back to, RFC 3339 in UTC. Default: the last there is.
                         */
                        at?: string;
                        /** @description Name of the base backup to begin with. Default: the newest before `at`. */
                        backup?: string;
                        /**
                         * @description Rows that the live database has from before the last restored commit, less so much, must have been restored. Covers transactions that were open then.
                         * @default 60
                         */
                        toleranceSeconds?: number;
                    };
                    tags?: string[];
                };
            };
        };
        responses: {
            /** @description The run was there already. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            /** @description The run was started. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    startMemory: {
        parameters: {
            query?: never;
            header?: {
                /** @description The person the run is about, as `kind:value`, e.g. `email:ada@example.net`: a key of theirs encrypts it, and an erasure destroys that key. Only a keyed hash is kept. */
                "HAL9-Subject"?: string;
                /** @description Equal keys with equal bodies start one run; 1 to 255 printable ASCII characters without spaces. */
                "Idempotency-Key"?: string;
                /** @description `wait=<seconds>` waits for the end, 60 at most. */
                Prefer?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    delaySeconds?: number;
                    input: components["schemas"]["MemoryDraft"];
                    tags?: string[];
                };
            };
        };
        responses: {
            /** @description The run was there already. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            /** @description The run was started. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    startRemediate: {
        parameters: {
            query?: never;
            header?: {
                /** @description The person the run is about, as `kind:value`, e.g. `email:ada@example.net`: a key of theirs encrypts it, and an erasure destroys that key. Only a keyed hash is kept. */
                "HAL9-Subject"?: string;
                /** @description Equal keys with equal bodies start one run; 1 to 255 printable ASCII characters without spaces. */
                "Idempotency-Key"?: string;
                /** @description `wait=<seconds>` waits for the end, 60 at most. */
                Prefer?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    delaySeconds?: number;
                    input: {
                        /** @default unknown */
                        cause?: string;
                        /** @default 15 */
                        checkSeconds?: number;
                        /** @default false */
                        dryRun?: boolean;
                        escalateTo?: string;
                        evidence?: unknown;
                        hostId: string;
                        incidentId: string;
                        summary?: string;
                        suspect?: {
                            pid: number;
                            startTicks?: number;
                        };
                    };
                    tags?: string[];
                };
            };
        };
        responses: {
            /** @description The run was there already. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            /** @description The run was started. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    startRetention: {
        parameters: {
            query?: never;
            header?: {
                /** @description The person the run is about, as `kind:value`, e.g. `email:ada@example.net`: a key of theirs encrypts it, and an erasure destroys that key. Only a keyed hash is kept. */
                "HAL9-Subject"?: string;
                /** @description Equal keys with equal bodies start one run; 1 to 255 printable ASCII characters without spaces. */
                "Idempotency-Key"?: string;
                /** @description `wait=<seconds>` waits for the end, 60 at most. */
                Prefer?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    delaySeconds?: number;
                    input: {
                        /** @description Counts, and deletes nothing. Default false. */
                        dryRun?: boolean;
                        /** @description Part of the time that statements may run; in between it pauses. Default 0.1. */
                        share?: number;
                        /** @description Name of a PostgreSQL source. */
                        source: string;
                        /** @description Default: all with a policy. */
                        tables?: string[];
                    };
                    tags?: string[];
                };
            };
        };
        responses: {
            /** @description The run was there already. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            /** @description The run was started. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    startRollout: {
        parameters: {
            query?: never;
            header?: {
                /** @description The person the run is about, as `kind:value`, e.g. `email:ada@example.net`: a key of theirs encrypts it, and an erasure destroys that key. Only a keyed hash is kept. */
                "HAL9-Subject"?: string;
                /** @description Equal keys with equal bodies start one run; 1 to 255 printable ASCII characters without spaces. */
                "Idempotency-Key"?: string;
                /** @description `wait=<seconds>` waits for the end, 60 at most. */
                Prefer?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    delaySeconds?: number;
                    input: {
                        analysis?: {
                            /** @default 60 */
                            intervalSeconds?: number;
                            metrics: {
                                /** @default 1 */
                                failures?: number;
                                judge?: {
                                    /** @default 0.98 */
                                    confidence?: number;
                                    /**
                                     * @description Which changes are bad.
                                     * @default increase
                                     * @enum {string}
                                     */
                                    direction?: "increase" | "decrease" | "either";
                                    /** @default 1 */
                                    high?: number;
                                    /** @constant */
                                    kind: "compare";
                                    /** @default 1 */
                                    low?: number;
                                    /**
                                     * @default meanRatio
                                     * @enum {string}
                                     */
                                    measure?: "meanRatio" | "cles";
                                    /** @default 8 */
                                    minimumSamples?: number;
                                    /**
                                     * @description `replace` counts what is no number as 0, for counters that say nothing while nothing happens.
                                     * @default remove
                                     * @enum {string}
                                     */
                                    nan?: "remove" | "replace";
                                    /**
                                     * @default {
                                     *       "kind": "keep"
                                     *     }
                                     */
                                    outliers?: {
                                        /** @constant */
                                        kind: "keep";
                                    } | {
                                        factor: number;
                                        /** @constant */
                                        kind: "iqr";
                                    } | {
                                        k: number;
                                        /** @constant */
                                        kind: "sigma";
                                    };
                                    /** @default 0.25 */
                                    tolerance?: number;
                                } | {
                                    /** @description Fails above. */
                                    above?: number;
                                    /** @description Fails below. */
                                    below?: number;
                                    /** @constant */
                                    kind: "threshold";
                                    /** @default 1 */
                                    minimumSamples?: number;
                                } | {
                                    /** @default 0.01 */
                                    falseAlarm?: number;
                                    /** @constant */
                                    kind: "sequential";
                                    /** @default 0.01 */
                                    missed?: number;
                                    /** @default 2 */
                                    ratio?: number;
                                    /** @default 0.001 */
                                    tolerableRate?: number;
                                };
                                name: string;
                                source: {
                                    /** @description PromQL. `{{namespace}}`, `{{oldPods}}` and `{{newPods}}` stand for the namespace and for regular expressions of pod names. */
                                    baseline?: string;
                                    /** @description PromQL. `{{namespace}}`, `{{oldPods}}` and `{{newPods}}` stand for the namespace and for regular expressions of pod names. */
                                    baselineExposure?: string;
                                    connection: string;
                                    /** @description PromQL. `{{namespace}}`, `{{oldPods}}` and `{{newPods}}` stand for the namespace and for regular expressions of pod names. */
                                    exposure?: string;
                                    /** @constant */
                                    kind: "prometheus";
                                    /** @description PromQL. `{{namespace}}`, `{{oldPods}}` and `{{newPods}}` stand for the namespace and for regular expressions of pod names. */
                                    query: string;
                                    stepSeconds?: number;
                                } | {
                                    connection?: string;
                                    /** @constant */
                                    kind: "http";
                                    /**
                                     * @default [
                                     *       200
                                     *     ]
                                     */
                                    statuses?: number[];
                                    /** Format: uri */
                                    url: string;
                                    value?: string;
                                } | {
                                    /** @constant */
                                    kind: "job";
                                    template: {
                                        [key: string]: unknown;
                                    };
                                    /** @default 300 */
                                    timeoutSeconds?: number;
                                } | {
                                    /** @constant */
                                    kind: "neuron";
                                    neuron: string;
                                    signals?: {
                                        /** @default 20 */
                                        limit?: number;
                                        /** @default 600 */
                                        seconds?: number;
                                        source?: string;
                                        subject?: string;
                                        type?: string;
                                    };
                                    /** @default hal9.rollout.look */
                                    type?: string;
                                };
                                /**
                                 * @default soak
                                 * @enum {string}
                                 */
                                when?: "soak" | "before" | "after";
                            }[];
                            /** @default 3 */
                            patience?: number;
                        };
                        /** @default false */
                        dryRun?: boolean;
                        /** @default [] */
                        freeze?: ({
                            /** Format: date-time */
                            from: string;
                            /** @constant */
                            kind: "dates";
                            reason: string;
                            /** Format: date-time */
                            until: string;
                        } | {
                            days: ("mon" | "tue" | "wed" | "thu" | "fri" | "sat" | "sun")[];
                            /** @default 00:00 */
                            from?: string;
                            /** @constant */
                            kind: "weekly";
                            reason: string;
                            /**
                             * @description IANA name.
                             * @default UTC
                             */
                            timeZone?: string;
                            /** @default 24:00 */
                            until?: string | "24:00";
                        })[];
                        notify?: string;
                        /** @default 600 */
                        progressDeadlineSeconds?: number;
                        /** @default 0 */
                        rollbackWindowSeconds?: number;
                        services: {
                            /** @default [] */
                            after?: string[];
                            images: {
                                [key: string]: string;
                            };
                            /**
                             * @default Deployment
                             * @enum {string}
                             */
                            kind?: "Deployment" | "StatefulSet";
                            name: string;
                            /** @default default */
                            namespace?: string;
                            service?: string;
                            strategy?: {
                                /** @constant */
                                kind: "rolling";
                            } | {
                                /** @constant */
                                kind: "canary";
                                steps: {
                                    approval?: {
                                        allowRequester?: boolean;
                                        approvers?: {
                                            /** @default [] */
                                            roles?: string[];
                                            /** @default [] */
                                            teams?: string[];
                                            /** @default [] */
                                            users?: string[];
                                        };
                                        /** @default 86400 */
                                        deadlineSeconds?: number;
                                        escalation?: {
                                            afterSeconds: number;
                                            approvers?: {
                                                /** @default [] */
                                                roles?: string[];
                                                /** @default [] */
                                                teams?: string[];
                                                /** @default [] */
                                                users?: string[];
                                            };
                                            connection: string;
                                        };
                                        links?: boolean;
                                        /** @default approvals:write */
                                        permission?: string;
                                        /** @default 1 */
                                        required?: number;
                                    };
                                    /** @default 0 */
                                    soakSeconds?: number;
                                    weight: number;
                                }[];
                                traffic?: {
                                    /** @constant */
                                    kind: "gateway";
                                    /** @description HTTPRoute (gateway.networking.k8s.io/v1) with a backendRef to the Service. */
                                    route: string;
                                } | {
                                    /** @constant */
                                    kind: "istio";
                                    /** @description VirtualService (networking.istio.io/v1) with a route to the Service. */
                                    virtualService: string;
                                } | {
                                    /** @description Ingress with a backend of the Service; HAL9 adds a canary Ingress beside it. */
                                    ingress: string;
                                    /** @constant */
                                    kind: "nginx";
                                };
                            } | {
                                approval?: {
                                    allowRequester?: boolean;
                                    approvers?: {
                                        /** @default [] */
                                        roles?: string[];
                                        /** @default [] */
                                        teams?: string[];
                                        /** @default [] */
                                        users?: string[];
                                    };
                                    /** @default 86400 */
                                    deadlineSeconds?: number;
                                    escalation?: {
                                        afterSeconds: number;
                                        approvers?: {
                                            /** @default [] */
                                            roles?: string[];
                                            /** @default [] */
                                            teams?: string[];
                                            /** @default [] */
                                            users?: string[];
                                        };
                                        connection: string;
                                    };
                                    links?: boolean;
                                    /** @default approvals:write */
                                    permission?: string;
                                    /** @default 1 */
                                    required?: number;
                                };
                                /** @constant */
                                kind: "blue-green";
                                /** @default 30 */
                                scaleDownDelaySeconds?: number;
                                /** @default 0 */
                                soakSeconds?: number;
                            };
                            workload?: string;
                        }[];
                        /**
                         * @default {
                         *       "kind": "rolling"
                         *     }
                         */
                        strategy?: {
                            /** @constant */
                            kind: "rolling";
                        } | {
                            /** @constant */
                            kind: "canary";
                            steps: {
                                approval?: {
                                    allowRequester?: boolean;
                                    approvers?: {
                                        /** @default [] */
                                        roles?: string[];
                                        /** @default [] */
                                        teams?: string[];
                                        /** @default [] */
                                        users?: string[];
                                    };
                                    /** @default 86400 */
                                    deadlineSeconds?: number;
                                    escalation?: {
                                        afterSeconds: number;
                                        approvers?: {
                                            /** @default [] */
                                            roles?: string[];
                                            /** @default [] */
                                            teams?: string[];
                                            /** @default [] */
                                            users?: string[];
                                        };
                                        connection: string;
                                    };
                                    links?: boolean;
                                    /** @default approvals:write */
                                    permission?: string;
                                    /** @default 1 */
                                    required?: number;
                                };
                                /** @default 0 */
                                soakSeconds?: number;
                                weight: number;
                            }[];
                            traffic?: {
                                /** @constant */
                                kind: "gateway";
                                /** @description HTTPRoute (gateway.networking.k8s.io/v1) with a backendRef to the Service. */
                                route: string;
                            } | {
                                /** @constant */
                                kind: "istio";
                                /** @description VirtualService (networking.istio.io/v1) with a route to the Service. */
                                virtualService: string;
                            } | {
                                /** @description Ingress with a backend of the Service; HAL9 adds a canary Ingress beside it. */
                                ingress: string;
                                /** @constant */
                                kind: "nginx";
                            };
                        } | {
                            approval?: {
                                allowRequester?: boolean;
                                approvers?: {
                                    /** @default [] */
                                    roles?: string[];
                                    /** @default [] */
                                    teams?: string[];
                                    /** @default [] */
                                    users?: string[];
                                };
                                /** @default 86400 */
                                deadlineSeconds?: number;
                                escalation?: {
                                    afterSeconds: number;
                                    approvers?: {
                                        /** @default [] */
                                        roles?: string[];
                                        /** @default [] */
                                        teams?: string[];
                                        /** @default [] */
                                        users?: string[];
                                    };
                                    connection: string;
                                };
                                links?: boolean;
                                /** @default approvals:write */
                                permission?: string;
                                /** @default 1 */
                                required?: number;
                            };
                            /** @constant */
                            kind: "blue-green";
                            /** @default 30 */
                            scaleDownDelaySeconds?: number;
                            /** @default 0 */
                            soakSeconds?: number;
                        };
                        waves: {
                            approval?: {
                                allowRequester?: boolean;
                                approvers?: {
                                    /** @default [] */
                                    roles?: string[];
                                    /** @default [] */
                                    teams?: string[];
                                    /** @default [] */
                                    users?: string[];
                                };
                                /** @default 86400 */
                                deadlineSeconds?: number;
                                escalation?: {
                                    afterSeconds: number;
                                    approvers?: {
                                        /** @default [] */
                                        roles?: string[];
                                        /** @default [] */
                                        teams?: string[];
                                        /** @default [] */
                                        users?: string[];
                                    };
                                    connection: string;
                                };
                                links?: boolean;
                                /** @default approvals:write */
                                permission?: string;
                                /** @default 1 */
                                required?: number;
                            };
                            clusters: string[];
                            name: string;
                            /** @default 0 */
                            soakSeconds?: number;
                        }[];
                    };
                    tags?: string[];
                };
            };
        };
        responses: {
            /** @description The run was there already. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            /** @description The run was started. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartedRun"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    resetPage: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The page. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html": string;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
}
