// The load balancer as a container app.
@minLength(2)
@maxLength(32)
param name string
param location string
param tags object

@description('Whether it has been deployed already, and so runs an image of ours.')
param exists bool
param environmentId string
param registryEndpoint string
param identityId string
param identityClientId string

@description('The Azure OpenAI resources, each with name and hasProvisioned.')
param accounts array
param openAiDomain string
param chatDeploymentName string
param chatModelName string
param embeddingDeploymentName string
param embeddingModelName string
param provisionedDeploymentName string

@secure()
param clientKey string

@description('The address of a Key Vault secret that holds the key instead; its vault must let the identity read secrets.')
param clientKeyVaultUrl string
param allowedIpRanges string
param ingressExternal bool
param logFormat string
param minReplicas int
param maxReplicas int
param drainDelaySeconds int
param drainSeconds int

var port = 8080
// azd puts our image in its place. It listens on the same port and answers /healthz, but not /readyz.
var placeholderImage = 'mcr.microsoft.com/dotnet/samples:aspnetapp'
var auth = {
  type: 'managed_identity'
  client_id: '\${AZURE_CLIENT_ID}'
}

// Callers' names → deployments. A deployment may also be asked for by the name of its model.
var chatNames = union({ '${chatModelName}': chatDeploymentName }, { '${chatDeploymentName}': chatDeploymentName })
var embeddingNames = union({ '${embeddingModelName}': embeddingDeploymentName }, { '${embeddingDeploymentName}': embeddingDeploymentName })
var provisionedNames = union({ '${chatModelName}': provisionedDeploymentName }, { '${chatDeploymentName}': provisionedDeploymentName })

// What is paid for by the hour comes first; the standard deployments take what spills over, that on the same resource, too.
var provisionedBackends = map(filter(accounts, account => account.hasProvisioned), account => {
  name: '${account.name}-provisioned'
  url: 'https://${account.name}.${openAiDomain}'
  priority: 1
  auth: auth
  deployments: provisionedNames
})
var standardBackends = map(accounts, account => {
  name: account.name
  url: 'https://${account.name}.${openAiDomain}'
  priority: 2
  auth: auth
  deployments: union(chatNames, embeddingNames)
})
var openConfig = {
  listen: {
    port: port
  }
  log: {
    format: logFormat
  }
  backends: concat(provisionedBackends, standardBackends)
  timeouts: {
    // The ingress gives up after 240 seconds; the load balancer says why before it does.
    request_ms: 230000
    drain_delay_ms: drainDelaySeconds * 1000
    drain_ms: drainSeconds * 1000
  }
}
var hasClientKey = !empty(clientKey) || !empty(clientKeyVaultUrl)
var config = hasClientKey ? union(openConfig, { clients: [{ name: 'chat-app', key: '\${CLIENT_KEY}' }] }) : openConfig

var openSecrets = [
  {
    name: 'config'
    value: string(config)
  }
]
var givenSecret = {
  name: 'client-key'
  value: clientKey
}
var vaultSecret = {
  name: 'client-key'
  keyVaultUrl: clientKeyVaultUrl
  identity: identityId
}
var clientSecret = empty(clientKeyVaultUrl) ? givenSecret : vaultSecret
var clientSecrets = hasClientKey ? [clientSecret] : []
var clientEnvironment = hasClientKey ? [
  {
    name: 'CLIENT_KEY'
    secretRef: 'client-key'
  }
] : []
var allowedRanges = filter(map(split(allowedIpRanges, ','), cidr => trim(cidr)), cidr => !empty(cidr))

module current 'image.bicep' = {
  name: '${name}-image'
  params: {
    name: name
    exists: exists
  }
}

resource app 'Microsoft.App/containerApps@2024-03-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'aoai-lb' })
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    environmentId: environmentId
    workloadProfileName: 'Consumption'
    configuration: {
      activeRevisionsMode: 'Single'
      ingress: {
        external: ingressExternal
        targetPort: port
        transport: 'auto'
        allowInsecure: false
        ipSecurityRestrictions: [for (cidr, i) in allowedRanges: {
          name: 'allowed-${i + 1}'
          action: 'Allow'
          ipAddressRange: cidr
        }]
      }
      registries: [
        {
          server: registryEndpoint
          identity: identityId
        }
      ]
      secrets: concat(openSecrets, clientSecrets)
    }
    template: {
      terminationGracePeriodSeconds: drainDelaySeconds + drainSeconds + 5
      containers: [
        {
          name: 'aoai-lb'
          image: exists ? current.outputs.image : placeholderImage
          env: concat([
            {
              name: 'AZURE_CLIENT_ID'
              value: identityClientId
            }
            {
              // A secret that changes makes no new revision; this does.
              name: 'CONFIG_VERSION'
              value: uniqueString(string(config))
            }
          ], clientEnvironment)
          resources: {
            cpu: json('0.5')
            memory: '1Gi'
          }
          volumeMounts: [
            {
              volumeName: 'config'
              mountPath: '/etc/aoai-lb'
            }
          ]
          probes: [
            {
              type: 'Startup'
              httpGet: {
                path: '/healthz'
                port: port
              }
              periodSeconds: 1
              failureThreshold: 60
            }
            {
              type: 'Liveness'
              httpGet: {
                path: '/healthz'
                port: port
              }
              periodSeconds: 10
              timeoutSeconds: 5
              failureThreshold: 3
            }
            {
              type: 'Readiness'
              httpGet: {
                path: exists ? '/readyz' : '/healthz'
                port: port
              }
              periodSeconds: 2
              timeoutSeconds: 2
              failureThreshold: 2
            }
          ]
        }
      ]
      volumes: [
        {
          name: 'config'
          storageType: 'Secret'
          secrets: [
            {
              secretRef: 'config'
              path: 'config.json'
            }
          ]
        }
      ]
      scale: {
        minReplicas: minReplicas
        maxReplicas: maxReplicas
        // By processor time: calls of a minute's length say nothing by their number.
        rules: [
          {
            name: 'cpu'
            custom: {
              type: 'cpu'
              metadata: {
                type: 'Utilization'
                value: '70'
              }
            }
          }
        ]
      }
    }
  }
}

output name string = app.name
output url string = 'https://${app.properties.configuration.ingress.fqdn}'
output imageName string = exists ? current.outputs.image : ''
