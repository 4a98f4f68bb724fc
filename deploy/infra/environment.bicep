// The Container Apps environment, whose log lines go to a Log Analytics workspace.
@minLength(2)
@maxLength(60)
param name string
param location string
param tags object

@description('The Log Analytics workspace, in this resource group.')
param workspaceName string

@description('A subnet (/27 or larger, delegated to Microsoft.App/environments); empty: none of yours.')
param infrastructureSubnetId string

resource workspace 'Microsoft.OperationalInsights/workspaces@2023-09-01' existing = {
  name: workspaceName
}

resource containerAppsEnvironment 'Microsoft.App/managedEnvironments@2024-03-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    appLogsConfiguration: {
      destination: 'log-analytics'
      logAnalyticsConfiguration: {
        customerId: workspace.properties.customerId
        sharedKey: workspace.listKeys().primarySharedKey
      }
    }
    workloadProfiles: [
      {
        name: 'Consumption'
        workloadProfileType: 'Consumption'
      }
    ]
    vnetConfiguration: empty(infrastructureSubnetId) ? null : {
      infrastructureSubnetId: infrastructureSubnetId
    }
  }
}

output id string = containerAppsEnvironment.id
output name string = containerAppsEnvironment.name
