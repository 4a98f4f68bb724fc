// Three Azure OpenAI resources and the load balancer before them, in a resource group of their own.
//
// Deployed by `azd up` (see deploy/README.md); main.parameters.json says which environment variable sets which parameter.
targetScope = 'subscription'

@description('The name of the azd environment; the resource group and the tags are named after it.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('The region of the load balancer. Those of the Azure OpenAI resources are in openAiLocations.')
@minLength(1)
param location string

@description('The regions of the Azure OpenAI resources, separated by commas: one resource for each, which have quotas of their own.')
param openAiLocations string = 'eastus2,northcentralus,swedencentral'

@description('Thousands of tokens per minute of each standard deployment.')
@minValue(1)
param openAiCapacity int = 30

@description('The name by which callers ask for the chat model.')
@minLength(2)
@maxLength(64)
param chatDeploymentName string = 'chat'

@description('The chat model; it is also a second name that callers may use.')
param chatModelName string = 'gpt-4.1-mini'
param chatModelVersion string = '2025-04-14'

@allowed(['Standard', 'DataZoneStandard', 'GlobalStandard'])
param chatSkuName string = 'GlobalStandard'

@description('The name by which callers ask for embeddings.')
@minLength(2)
@maxLength(64)
param embeddingDeploymentName string = 'embedding'

@description('The embedding model; it is also a second name that callers may use. It must be the one that filled the search index.')
param embeddingModelName string = 'text-embedding-3-large'
param embeddingModelVersion string = '1'

@allowed(['Standard', 'DataZoneStandard', 'GlobalStandard'])
param embeddingSkuName string = 'GlobalStandard'

@description('Provisioned throughput units (PTUs) for the chat model beside the standard deployments; 0: none.')
@minValue(0)
param provisionedCapacity int = 0

@description('What kind of provisioned deployment.')
@allowed(['ProvisionedManaged', 'GlobalProvisionedManaged', 'DataZoneProvisionedManaged'])
param provisionedSkuName string = 'ProvisionedManaged'

@description('Which of the Azure OpenAI resources gets the provisioned deployment: 1 is the first of openAiLocations.')
@minValue(1)
param provisionedResource int = 1

@description('The model of the provisioned deployment; empty: that of the chat deployments.')
param provisionedModelName string = ''
param provisionedModelVersion string = ''

@description('The content filter of every deployment.')
param contentFilter string = 'Microsoft.DefaultV2'

@description('Whether the keys of the Azure OpenAI resources are turned off, so that only identities have access.')
param disableOpenAiKeys bool = true

@description('Whether the Azure OpenAI resources can be reached from public networks.')
@allowed(['Enabled', 'Disabled'])
param openAiPublicNetworkAccess string = 'Enabled'

@description('The domain of Azure OpenAI; another one in sovereign clouds.')
param openAiDomain string = 'openai.azure.com'

@description('The key that callers must show; empty: the load balancer is open to whoever reaches it.')
@secure()
param clientKey string = ''

@description('The address of a Key Vault secret that holds that key instead, such as https://my-vault.vault.azure.net/secrets/client-key.')
param clientKeyVaultUrl string = ''

@description('Addresses that may reach the load balancer (CIDR, separated by commas); empty: all.')
param allowedIpRanges string = ''

@description('Whether the load balancer is reached from outside the Container Apps environment.')
param ingressExternal bool = true

@description('A subnet for the Container Apps environment; empty: none of yours.')
param infrastructureSubnetId string = ''

@allowed(['text', 'json'])
param logFormat string = 'text'

@description('How long the log is kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 30

@minValue(1)
param minReplicas int = 1

@minValue(1)
param maxReplicas int = 3

@description('At a stop: seconds for which requests are still accepted, until the ingress has taken notice.')
@minValue(0)
@maxValue(60)
param drainDelaySeconds int = 5

@description('At a stop: seconds that requests under way may still take. The ingress itself ends each after 240 seconds.')
@minValue(1)
@maxValue(500)
param drainSeconds int = 120

@description('Whether azd has deployed the load balancer already; azd says so itself.')
param appExists bool = false

var resourceToken = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }
var regions = split(openAiLocations, ',')
// They appear in the log as https://openai1-…, https://openai2-…
var accountNames = map(range(0, length(regions)), i => 'openai${i + 1}-${resourceToken}')
// A number beyond the last resource is an index out of bounds: nothing is deployed, rather than all but what was asked for.
var provisionedAccountName = provisionedCapacity > 0 ? accountNames[provisionedResource - 1] : ''
var accounts = [for (region, i) in regions: {
  name: accountNames[i]
  location: trim(region)
  hasProvisioned: accountNames[i] == provisionedAccountName
}]
var provisionedDeploymentName = '${chatDeploymentName}-provisioned'
var standardDeployments = [
  {
    name: chatDeploymentName
    modelName: chatModelName
    modelVersion: chatModelVersion
    skuName: chatSkuName
    capacity: openAiCapacity
  }
  {
    name: embeddingDeploymentName
    modelName: embeddingModelName
    modelVersion: embeddingModelVersion
    skuName: embeddingSkuName
    capacity: openAiCapacity
  }
]
var provisionedDeployments = [
  {
    name: provisionedDeploymentName
    modelName: empty(provisionedModelName) ? chatModelName : provisionedModelName
    modelVersion: empty(provisionedModelVersion) ? chatModelVersion : provisionedModelVersion
    skuName: provisionedSkuName
    capacity: provisionedCapacity
  }
]

resource resourceGroup 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module identity 'identity.bicep' = {
  name: 'identity'
  scope: resourceGroup
  params: {
    name: 'id-aoai-lb-${resourceToken}'
    location: location
    tags: tags
  }
}

module openAi 'openai.bicep' = [for account in accounts: {
  name: account.name
  scope: resourceGroup
  params: {
    name: account.name
    location: account.location
    tags: tags
    deployments: account.hasProvisioned ? concat(standardDeployments, provisionedDeployments) : standardDeployments
    contentFilter: contentFilter
    disableLocalAuth: disableOpenAiKeys
    publicNetworkAccess: openAiPublicNetworkAccess
    principalId: identity.outputs.principalId
  }
}]

module registry 'registry.bicep' = {
  name: 'registry'
  scope: resourceGroup
  params: {
    name: 'craoailb${resourceToken}'
    location: location
    tags: tags
    principalId: identity.outputs.principalId
  }
}

module logs 'logs.bicep' = {
  name: 'logs'
  scope: resourceGroup
  params: {
    name: 'log-aoai-lb-${resourceToken}'
    location: location
    tags: tags
    retentionDays: logRetentionDays
  }
}

module containerAppsEnvironment 'environment.bicep' = {
  name: 'environment'
  scope: resourceGroup
  params: {
    name: 'cae-aoai-lb-${resourceToken}'
    location: location
    tags: tags
    workspaceName: logs.outputs.name
    infrastructureSubnetId: infrastructureSubnetId
  }
}

module app 'app.bicep' = {
  name: 'app'
  scope: resourceGroup
  // Its role on each resource must be there before it is.
  dependsOn: [openAi]
  params: {
    name: 'ca-aoai-lb-${resourceToken}'
    location: location
    tags: tags
    exists: appExists
    environmentId: containerAppsEnvironment.outputs.id
    registryEndpoint: registry.outputs.endpoint
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    accounts: accounts
    openAiDomain: openAiDomain
    chatDeploymentName: chatDeploymentName
    chatModelName: chatModelName
    embeddingDeploymentName: embeddingDeploymentName
    embeddingModelName: embeddingModelName
    provisionedDeploymentName: provisionedDeploymentName
    clientKey: clientKey
    clientKeyVaultUrl: clientKeyVaultUrl
    allowedIpRanges: allowedIpRanges
    ingressExternal: ingressExternal
    logFormat: logFormat
    minReplicas: minReplicas
    maxReplicas: maxReplicas
    drainDelaySeconds: drainDelaySeconds
    drainSeconds: drainSeconds
  }
}

@description('What the chat app takes as AZURE_OPENAI_CUSTOM_URL.')
output CONTAINER_APP_URL string = app.outputs.url
output SERVICE_AOAI_LB_NAME string = app.outputs.name
output SERVICE_AOAI_LB_URI string = app.outputs.url
output SERVICE_AOAI_LB_IMAGE_NAME string = app.outputs.imageName
@description('The object id of the load balancer\'s identity, for roles of your own making.')
output SERVICE_AOAI_LB_IDENTITY_PRINCIPAL_ID string = identity.outputs.principalId
output AZURE_CONTAINER_REGISTRY_ENDPOINT string = registry.outputs.endpoint
output AZURE_CONTAINER_REGISTRY_NAME string = registry.outputs.name
output AZURE_CONTAINER_APPS_ENVIRONMENT_NAME string = containerAppsEnvironment.outputs.name
output AZURE_LOG_ANALYTICS_WORKSPACE_NAME string = logs.outputs.name
output AZURE_LOCATION string = location
output AZURE_RESOURCE_GROUP string = resourceGroup.name
output AZURE_TENANT_ID string = tenant().tenantId
output RESOURCE_GROUP_NAME string = resourceGroup.name
output OPENAI_RESOURCE_NAMES string = join(map(accounts, account => account.name), ',')
